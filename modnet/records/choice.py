"""Which candidate wins, and how fast each form is on the machine of the run."""

import statistics

from pydantic import Field

from modnet.records.record import Record, StoredFile
from modnet.targets import Target


class Choice(Record):
    """Which candidate is released, and why not the others."""

    winner: str
    front: tuple[str, ...] = Field(
        description="candidates that no other beats in both tune error and latency, the fastest first"
    )
    reasons: dict[str, str] = Field(description="one sentence for every candidate, the winner's included")


class HostLatencies(Record):
    """Latencies of several networks' IRs on one machine, all taking their turn in every round."""

    host: str
    deciding_form: Target = Field(description="what devices run, by which the fastest network is told")
    samples_ms: dict[str, dict[Target, tuple[float, ...]]] = Field(
        description="by network_id and form; the i-th samples of all were taken in the same round"
    )

    def p50_ms(self, network_id: str, form: Target) -> float | None:
        """The median; None where this form of the network was not timed."""
        samples = self.samples_ms.get(network_id, {}).get(form)
        return statistics.median(samples) if samples else None

    def speedup(self, network_id: str, form: Target, reference_id: str) -> float | None:
        """How many times as fast as the FP32 form of `reference_id`: the median of the rounds' ratios."""
        samples = self.samples_ms.get(network_id, {}).get(form)
        references = self.samples_ms.get(reference_id, {}).get("cpu-fp32")
        if not samples or not references:
            return None
        return statistics.median(reference / one for one, reference in zip(samples, references, strict=True))

    @property
    def deciding_ms(self) -> dict[str, float]:
        """Medians of the form that decides, by network_id."""
        medians = {name: self.p50_ms(name, self.deciding_form) for name in self.samples_ms}
        return {name: median for name, median in medians.items() if median is not None}


class TimedForms(Record):
    """What of one network is timed beside others: as fast as what would ship, INT8 not held to its error."""

    network_id: str
    files: dict[str, StoredFile] = Field(description="IRs by file name")
    refused: dict[Target, str] = Field({}, description="forms that could not be made, with the reason")
