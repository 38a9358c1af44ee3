"""What becomes of a release on each target."""

from typing import Any

from pydantic import Field

from modnet.configs import ExportConfig, PruningConfig
from modnet.records.export import LegacyCheck
from modnet.records.record import Record
from modnet.shipped import SHIPPED_ORIGIN
from modnet.targets import Target


class Challenge(Record):
    """A new network against the release that a target runs: on the same images, and in turns on one machine."""

    target: Target
    release_id: str = Field(description="what the target runs")
    problem: str | None = Field(None, description="why that release cannot be used at all; nothing was measured then")
    current_error: float | None = Field(None, ge=0, description="on tune")
    new_error: float | None = Field(None, ge=0, description="on tune")
    difference_low: float | None = Field(None, description="of the error, new minus current, paired, 95 %")
    difference_high: float | None = None
    workload: str | None = Field(None, description="of the current release, where the new network is of another")
    new_workload: str | None = Field(None, description="of the new network, likewise")
    latency_ratio: float | None = Field(None, gt=0, description="new by current: the median of the rounds' ratios")
    low: float | None = Field(None, gt=0, description="of its interval of 95 %")
    high: float | None = Field(None, gt=0)

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the current release stays: a higher error, or a latency that is surely higher."""
        if self.workload is not None:
            return (f"it is of workload {self.workload!r}, the new network of {self.new_workload!r}",)
        found = []
        if self.current_error is not None and self.new_error is not None and self.new_error > self.current_error:
            found.append(f"the new network errs more: tune error {self.new_error:.6f} against {self.current_error:.6f}")
        if self.low is not None and self.low > 1:
            found.append(f"the new network is slower: {self.latency}")
        return tuple(found)

    @property
    def latency(self) -> str:
        """The ratio of latencies with its interval, for people."""
        return f"{self.latency_ratio:.2f} times the latency of {self.release_id} ({self.low:.2f} to {self.high:.2f})"

    @property
    def verdict(self) -> str:
        """One sentence of what was found."""
        if self.problem is not None:
            return f"release {self.release_id} cannot be used: {self.problem}"
        if self.objections:
            return f"release {self.release_id} stays: {'; '.join(self.objections)}"
        return (
            f"not worse than release {self.release_id}: tune error {self.new_error:.6f} against "
            f"{self.current_error:.6f}, {self.latency}"
        )


class Promotion(Record):
    """What became of one target when a release was deployed."""

    target: str
    release_id: str = Field(description="what the target runs now")
    is_moved: bool = Field(description="whether it runs the deployed release")
    reason: str


class ReleaseRecord(Record):
    """A published release, and what each of its targets runs now."""

    release_id: str
    promotions: tuple[Promotion, ...]

    @property
    def running(self) -> dict[str, tuple[str, ...]]:
        """Which targets run which release now: the deployed one first, then those that were kept."""
        running: dict[str, tuple[str, ...]] = {self.release_id: ()}
        for one in self.promotions:
            running[one.release_id] = (*running.get(one.release_id, ()), one.target)
        return {release: targets for release, targets in running.items() if targets}


class DataOrigin(Record):
    """What a network learnt from and is scored on."""

    dataset_id: str
    source: str = Field(description="for people, without secrets")
    sha256: str = Field(description="of the archive")
    is_synthetic: bool = Field(description="rendered by this project")
    fit: int = Field(description="images that teach")
    tune: int = Field(description="images that choose")
    val: int = Field(description="images that only report")


class NetworkOrigin(Record):
    """A network that a release starts from."""

    network_id: str
    sha256: str = Field(description="of its checkpoint")
    origin: str = Field(description="for people")
    made: dict[str, Any] = Field(description="how: recipe and seed, or what a given checkpoint says of itself")


class PruningStep(Record):
    """One pruning and the retraining after it."""

    network_id: str = Field(description="of the network that it made")
    sha256: str = Field(description="of that network's checkpoint")
    plan_sha256: str = Field(description="as the plan has it")
    pruning: PruningConfig = Field(description="policy, budget and criterion")
    retrain: dict[str, Any] = Field(description="the recipe")
    seed: int


class Provenance(Record):
    """How a release came about: the member `provenance` of its manifest. No times: they would change its name."""

    reason: str = Field(description="why it won")
    dataset: DataOrigin
    base: NetworkOrigin = Field(description="the unpruned network: it teaches, and is compared with")
    start: NetworkOrigin | None = Field(description="what the first step pruned, where that is not the base")
    steps: tuple[PruningStep, ...] = Field(description="from there to the released network; none: it is the base")
    parameters: int
    macs: int
    export: ExportConfig = Field(description="how its forms were asked for")
    versions: dict[str, str] = Field(description="of the software that made the forms")
    scores_protocol: str = Field(description="how images became what the network read for scores")
    target_scores_protocol: str = Field(description="likewise, of the forms")
    refused: dict[str, str] = Field(description="forms that are not released, with the reason")
    legacy: dict[Target, tuple[LegacyCheck, ...]] = Field(description="what old runtimes say of the forms")

    @property
    def usual_licence(self) -> str | None:
        """That of the project where nothing but its own is in the network; None where only its owner can say."""
        networks = [self.base, *([] if self.start is None else [self.start])]
        is_ours = self.dataset.is_synthetic and all(one.origin == SHIPPED_ORIGIN for one in networks)
        return "Apache-2.0" if is_ours else None
