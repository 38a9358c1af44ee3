"""The latency report that a device sends back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Union

from infra.device.documents.checks import check_finite, check_name, check_release_id, check_text, check_time
from infra.device.documents.document import Document
from infra.device.documents.json_object import JsonObject
from infra.device.documents.latency_summary import LatencySummary, summarise
from infra.device.errors import ContractError

MAX_MILLISECONDS = 1e9  # eleven days; keeps sums of hostile numbers finite
MAX_CONDITIONS = 100
MAX_SENT_BYTES = 1 << 20  # what the ingest takes: 50,000 samples; earlier versions stored more, which is still read
MEASURED = "measured"
FAILED = "failed"

Condition = Union[str, int, float]


@dataclass(frozen=True)
class LatencyReport(Document):
    """What one device measured of one release, or why it could not.

    Attributes:
        runtime: inference runtime and its version, as `openvino 2026.4.1`.
        reason: why it failed; None when measured.
        precision: of the execution, as the runtime names it (`f32`, `bf16`); None where the runtime does not say.
        input_shape: of the network as measured, batch first; empty when failed.
        conditions: of the machine and the run; each key ends in its unit.
        load_ms: reading and compiling the network, milliseconds; None when failed.
        warm_up_ms: the first inferences in order, not part of the statistics.
        samples_ms: every inference after them, in order.
        summary: statistics of samples_ms; None when failed.
    """

    kind: ClassVar[str] = "report"
    newest: ClassVar[int] = 1
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
    schema_version: int = newest

    def __post_init__(self) -> None:
        self.check_schema_version(self.schema_version)
        check_release_id("report.release_id", self.release_id)
        check_name("report.target", self.target)
        check_name("report.device", self.device)
        check_time("report.started_at", self.started_at)
        if self.status == MEASURED:
            self._check_measured()
        elif self.status == FAILED:
            self._check_failed()
        else:
            raise ContractError(f"report.status: got {self.status[:80]!r}, wanted {MEASURED!r} or {FAILED!r}")

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

    def _check_failed(self) -> None:
        if not self.reason:
            raise ContractError("report.reason: got none, wanted why the measurement failed")
        if self.samples_ms or self.warm_up_ms or self.summary is not None or self.load_ms is not None:
            raise ContractError("report: got measurements, wanted none when the status is 'failed'")

    def key(self) -> str:
        """Where this report is stored: `reports/<device>/<release_id>/<target>-<started_at>.json`."""
        return f"reports/{self.device}/{self.release_id}/{self.target}-{self.started_at}.json"

    def earlier_key(self) -> str:
        """Where versions before 0.2.0 stored it: release and device the other way round."""
        return f"reports/{self.release_id}/{self.device}/{self.target}-{self.started_at}.json"

    @classmethod
    def _read(cls, report: JsonObject) -> LatencyReport:
        summary = None if report.is_null("summary") else LatencySummary(**_summary(report.numbers_by_name("summary")))
        return report.read(cls, conditions=_conditions(report.plain("conditions")), summary=summary)


def _conditions(members: Mapping[str, object]) -> dict[str, Condition]:
    if len(members) > MAX_CONDITIONS:
        raise ContractError(f"report.conditions: got {len(members)}, wanted at most {MAX_CONDITIONS}")
    conditions: dict[str, Condition] = {}
    for name, value in members.items():
        check_text("report.conditions: a name", name)
        if isinstance(value, str):
            check_text(f"report.conditions.{name[:80]}", value)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ContractError(f"report.conditions.{name[:80]}: wanted a string or a number")
        conditions[name] = value
    check_finite("report.conditions", {k: v for k, v in conditions.items() if isinstance(v, float)})
    return conditions


def _summary(members: dict[str, float]) -> dict[str, float]:
    wanted = {field.name for field in fields(LatencySummary)}
    if set(members) != wanted:
        raise ContractError(f"report.summary: got fields {sorted(members)[:8]}, wanted {sorted(wanted)}")
    return members
