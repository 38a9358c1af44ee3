"""What a child has found so far, and the report that it makes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from infra.device.documents.json_object import JsonObject
from infra.device.documents.latency_report import (
    MAX_SENT_BYTES,
    MEASURED,
    WRONG,
    Comparison,
    GoldenCheck,
    LatencyReport,
)
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.errors import ChildLostError, ContractError
from infra.device.measuring.request import COMPARED, DONE, GOLDEN, LOADED, NOT_COMPARED, RUNTIME
from infra.device.measuring.verdict import doubts

_log = logging.getLogger(__name__)


@dataclass
class Findings:
    """The answers of one child, each as far as it came; see `infra.device.measuring.request`."""

    runtime: str = ""
    load_ms: float | None = None
    input_shape: tuple[int, ...] = ()
    precision: str | None = None
    golden: GoldenCheck | None = None
    warm_up_ms: tuple[float, ...] = ()
    samples_ms: tuple[float, ...] = ()
    conditions: dict[str, Any] = field(default_factory=dict)
    conditions_after: dict[str, Any] = field(default_factory=dict)
    comparison: Comparison | None = None

    def take(self, stage: str, answer: JsonObject) -> None:
        """Reads one answer.

        Raises:
            ContractError: it is none.
        """
        if stage == RUNTIME:
            self.runtime = answer.text("text")
        elif stage == LOADED:
            self.load_ms = answer.number("load_ms")
            self.input_shape = answer.integers("input_shape")
            self.precision = None if answer.is_null("precision") else answer.text("precision")
        elif stage == GOLDEN:
            self.golden = answer.nested("golden").read(GoldenCheck)
        elif stage == DONE:
            self.warm_up_ms, self.samples_ms = answer.numbers("warm_up_ms"), answer.numbers("samples_ms")
            self.conditions = answer.plain("conditions")
            self.conditions_after = answer.plain("conditions_after")
        elif stage == COMPARED:
            self.comparison = answer.nested("comparison").read(Comparison)
        elif stage == NOT_COMPARED:
            _log.warning("no comparison with the release before: %s", answer.text("words"))

    @property
    def are_measured(self) -> bool:
        """Whether the measurement is whole, comparison or not."""
        return bool(self.samples_ms)

    def report(self, new_report: Callable[..., LatencyReport]) -> LatencyReport:
        """The report, measured or wrong, as every reader will take it.

        Args:
            new_report: LatencyReport but for what a child finds; `conditions` are those of this process.

        Raises:
            ChildLostError: the answers make none.
        """
        try:
            report = self._measured(new_report) if self.are_measured else self._wrong(new_report)
            data = report.to_json()
            if len(data) > MAX_SENT_BYTES:
                raise ContractError(f"report: got {len(data)} bytes, wanted at most {MAX_SENT_BYTES}")
            return LatencyReport.from_json(data)
        except (ContractError, ArithmeticError, TypeError, ValueError) as error:  # it may say anything
            raise ChildLostError(f"the child's answers make no report: {error}") from error

    def _measured(self, new_report: Callable[..., LatencyReport]) -> LatencyReport:
        report = new_report(
            status=MEASURED,
            conditions=self.conditions,
            conditions_after=self.conditions_after,
            precision=self.precision,
            input_shape=self.input_shape,
            load_ms=self.load_ms,
            warm_up_ms=self.warm_up_ms,
            samples_ms=self.samples_ms,
            summary=summarise(self.samples_ms),
            intervals_ms=intervals(self.samples_ms),
            golden=self.golden,
            comparison=self.comparison,
        )
        return replace(report, doubts=doubts(report))

    def _wrong(self, new_report: Callable[..., LatencyReport]) -> LatencyReport:
        if self.golden is None or self.golden.worst_difference <= self.golden.tolerance:
            raise ContractError("it neither measured nor found the golden images wrong")
        return new_report(
            status=WRONG,
            precision=self.precision,
            input_shape=self.input_shape,
            golden=self.golden,
            reason=f"golden images: got a mean absolute difference of {self.golden.worst_difference:.4g} from what the "
            f"float network computes, wanted at most {self.golden.tolerance:g}: it computes something else here",
        )
