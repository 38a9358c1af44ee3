"""The latency report that a device sends back.

Version 2 says how far its numbers can be trusted: golden images, intervals, a comparison in turns, doubts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import ClassVar, Union

from infra.device.documents.checks import check_finite, check_name, check_release_id, check_text, check_time
from infra.device.documents.document import Document
from infra.device.documents.json_object import JsonObject
from infra.device.documents.latency_summary import INTERVALS, LatencySummary, summarise
from infra.device.errors import ContractError

MAX_MILLISECONDS = 1e9  # eleven days; keeps sums of hostile numbers finite
MAX_CONDITIONS = 100
MAX_SENT_BYTES = 1 << 20  # what the ingest takes: 50,000 samples; earlier versions stored more, which is still read
MEASURED = "measured"
FAILED = "failed"
WRONG = "wrong"  # it ran, and what it computed is not what the network computes: it has no latency

Condition = Union[str, int, float]


@dataclass(frozen=True)
class GoldenCheck:
    """What the device computed of the release's golden images.

    Attributes:
        images_count: of the golden file.
        worst_difference: the largest mean absolute difference of an image's output from the float network's.
        tolerance: as the manifest says; above it the report is `wrong`.
    """

    images_count: int
    worst_difference: float
    tolerance: float

    def __post_init__(self) -> None:
        if self.images_count < 1 or self.worst_difference < 0 or self.tolerance <= 0:
            raise ContractError(f"report.golden: got {self}, wanted positive numbers")


@dataclass(frozen=True)
class Comparison:
    """The release against another one that the device ran in turns with it, so that both met the same machine.

    Attributes:
        release_id: of the other.
        rounds_count: in each of which both ran once.
        ratio: median over rounds of this release's time by the other's; below 1 it is faster.
        ratio_low, ratio_high: a bootstrap interval of it, 95 %.
    """

    release_id: str
    rounds_count: int
    ratio: float
    ratio_low: float
    ratio_high: float

    def __post_init__(self) -> None:
        check_release_id("report.comparison.release_id", self.release_id)
        if self.rounds_count < 1 or not 0 < self.ratio_low <= self.ratio <= self.ratio_high <= MAX_MILLISECONDS:
            raise ContractError(f"report.comparison: got {self}, wanted rounds and 0 < low <= ratio <= high")


@dataclass(frozen=True)
class LatencyReport(Document):
    """What one device measured of one release, or why it could not.

    Attributes:
        runtime: inference runtime and its version, as `openvino 2026.4.1`.
        reason: why it failed or is wrong; None when measured.
        precision: of the execution, as the runtime names it (`f32`, `bf16`); None where the runtime does not say.
        input_shape: of the network as measured, batch first; empty when not measured.
        conditions: of the machine and the run, before the first inference; each key ends in its unit.
        conditions_after: of the machine, after the last one; empty when not measured.
        load_ms: reading and compiling the network, milliseconds; None when not measured.
        warm_up_ms: the first inferences in order, not part of the statistics.
        samples_ms: every inference after them, in order.
        summary: statistics of samples_ms; None when not measured.
        intervals_ms: bootstrap intervals, 95 %, of p50, p90 and p99 as p50_low, p50_high and so on; empty when not
            measured.
        golden: what golden images showed; None where the release has none, or the network did not run.
        comparison: with the release before; None where there is none, or it does not run here.
        doubts: why the latency is not to be trusted, a sentence each; none: it is trustworthy by every rule of
            `infra.device.measuring.verdict`.
    """

    kind: ClassVar[str] = "report"
    newest: ClassVar[int] = 2
    max_bytes: ClassVar[int] = 8 << 20

    release_id: str
    target: str
    device: str
    runtime: str
    status: str
    started_at: str
    conditions: Mapping[str, Condition]
    reason: str | None = None
    precision: str | None = None
    input_shape: tuple[int, ...] = ()
    load_ms: float | None = None
    warm_up_ms: tuple[float, ...] = ()
    samples_ms: tuple[float, ...] = ()
    summary: LatencySummary | None = None
    conditions_after: Mapping[str, Condition] = field(default_factory=dict)
    intervals_ms: Mapping[str, float] = field(default_factory=dict)
    golden: GoldenCheck | None = None
    comparison: Comparison | None = None
    doubts: tuple[str, ...] = ()
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_release_id("report.release_id", self.release_id)
        check_name("report.target", self.target)
        check_name("report.device", self.device)
        check_time("report.started_at", self.started_at)
        if self.status == MEASURED:
            self._check_measured()
        elif self.status in (FAILED, WRONG):
            self._check_not_measured()
        else:
            raise ContractError(
                f"report.status: got {self.status[:80]!r}, wanted {MEASURED!r}, {FAILED!r} or {WRONG!r}"
            )
        if self.status == WRONG and self.schema_version < 2:
            raise ContractError(f"report.status: got {WRONG!r}, which version 1 does not know")

    def _check_measured(self) -> None:
        if self.reason is not None:
            raise ContractError("report.reason: got a text, wanted null when the status is 'measured'")
        if not self.samples_ms:
            raise ContractError("report.samples_ms: got none, wanted at least one when the status is 'measured'")
        for ms in self.warm_up_ms + self.samples_ms:
            if not 0 < ms <= MAX_MILLISECONDS:
                raise ContractError(f"report.warm_up_ms, samples_ms: got {ms}, wanted 0 < ms <= {MAX_MILLISECONDS}")
        if self.load_ms is None or not 0 <= self.load_ms <= MAX_MILLISECONDS:
            raise ContractError(f"report.load_ms: got {self.load_ms}, wanted a number of milliseconds")
        if not self.input_shape or min(self.input_shape) < 1:
            raise ContractError(f"report.input_shape: got {list(self.input_shape)}, wanted positive sizes")
        if self.summary is None:
            raise ContractError("report.summary: missing, wanted the statistics of samples_ms")
        wanted = asdict(summarise(self.samples_ms))
        for name, got in asdict(self.summary).items():
            if not math.isclose(got, wanted[name], rel_tol=1e-9):
                raise ContractError(f"report.summary.{name}: got {got}, wanted {wanted[name]} as samples_ms gives")

        self._check_intervals()
        if self.golden is not None and self.golden.worst_difference > self.golden.tolerance:
            raise ContractError(
                f"report.golden: got {self.golden}, which is wrong, wanted it right where it is measured"
            )

    def _check_intervals(self) -> None:
        if self.schema_version < 2:
            return
        if set(self.intervals_ms) != set(INTERVALS):
            raise ContractError(f"report.intervals_ms: got {sorted(self.intervals_ms)[:8]}, wanted {list(INTERVALS)}")
        shortest, longest = min(self.samples_ms), max(self.samples_ms)
        for low, high in zip(INTERVALS[::2], INTERVALS[1::2]):
            if not shortest <= self.intervals_ms[low] <= self.intervals_ms[high] <= longest:
                raise ContractError(f"report.intervals_ms.{low}, {high}: got others than samples of samples_ms")

    def _check_not_measured(self) -> None:
        if not self.reason:
            raise ContractError(f"report.reason: got none, wanted why the report is {self.status!r}")
        if self.samples_ms or self.warm_up_ms or self.summary is not None or self.load_ms is not None:
            raise ContractError(f"report: got measurements, wanted none when the status is {self.status!r}")
        if self.intervals_ms or self.comparison is not None or self.doubts:
            raise ContractError(f"report: got a verdict on a latency, wanted none when the status is {self.status!r}")

    @property
    def is_trustworthy(self) -> bool:
        """Measured, and nothing speaks against the number; reports of version 1 do not say so."""
        return self.status == MEASURED and self.schema_version >= 2 and not self.doubts

    def key(self) -> str:
        """Where this report is stored: `reports/<device>/<release_id>/<target>-<started_at>.json`."""
        return f"reports/{self.device}/{self.release_id}/{self.target}-{self.started_at}.json"

    def earlier_key(self) -> str:
        """Where versions before 0.2.0 stored it: release and device the other way round."""
        return f"reports/{self.release_id}/{self.device}/{self.target}-{self.started_at}.json"

    def members(self) -> dict[str, object]:
        """The members of the JSON object, as the document's own schema_version has them."""
        members = asdict(self)
        for name in _NEW_IN_2 if self.schema_version < 2 else ():
            del members[name]
        return members

    @classmethod
    def _read(cls, report: JsonObject) -> LatencyReport:
        summary = None if report.is_null("summary") else LatencySummary(**_summary(report.numbers_by_name("summary")))
        conditions = _conditions("conditions", report)
        if report.integer("schema_version") < 2:
            return report.read(cls, _NEW_IN_2, conditions=conditions, summary=summary, **_BEFORE_2)
        return report.read(
            cls,
            conditions=conditions,
            summary=summary,
            conditions_after=_conditions("conditions_after", report),
            intervals_ms=report.numbers_by_name("intervals_ms"),
            golden=None if report.is_null("golden") else report.nested("golden").read(GoldenCheck),
            comparison=None if report.is_null("comparison") else report.nested("comparison").read(Comparison),
        )


_BEFORE_2: Mapping[str, object] = {
    "conditions_after": {},
    "intervals_ms": {},
    "golden": None,
    "comparison": None,
    "doubts": (),
}
_NEW_IN_2 = tuple(_BEFORE_2)


def _conditions(which: str, report: JsonObject) -> dict[str, Condition]:
    members = report.plain(which)
    if len(members) > MAX_CONDITIONS:
        raise ContractError(f"report.{which}: got {len(members)}, wanted at most {MAX_CONDITIONS}")
    conditions: dict[str, Condition] = {}
    for name, value in members.items():
        check_text(f"report.{which}: a name", name)
        if isinstance(value, str):
            check_text(f"report.{which}.{name[:80]}", value)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ContractError(f"report.{which}.{name[:80]}: wanted a string or a number")
        conditions[name] = value
    check_finite(f"report.{which}", {k: v for k, v in conditions.items() if isinstance(v, float)})
    return conditions


def _summary(members: dict[str, float]) -> dict[str, float]:
    wanted = {field.name for field in fields(LatencySummary)}
    if set(members) != wanted:
        raise ContractError(f"report.summary: got fields {sorted(members)[:8]}, wanted {sorted(wanted)}")
    return members
