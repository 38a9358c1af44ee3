"""The reports that devices wrote on a release, told from what is none."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from infra.device.documents.checks import check_release_id
from infra.device.documents.latency_report import MAX_SENT_BYTES, MEASURED, LatencyReport
from infra.device.errors import ContractError, NotStoredError
from infra.device.stores.object_store import ObjectStore

_MAX_SIGNS = 10_000  # of a report beyond MAX_SENT_BYTES: its 100 conditions have 400
_parsing = threading.Lock()  # JSON takes some twenty times its size while it is parsed


@dataclass(frozen=True)
class RefusedReport:
    """An object among the reports that is not a report, and why."""

    key: str
    reason: str


def read_reports(store: ObjectStore, release_id: str) -> tuple[list[LatencyReport], list[RefusedReport]]:
    """Every valid report on a release in the order of their keys by device, and every refused one.

    What is not a report never stops the others: whoever can write to the store may have put it there.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    check_release_id("release_id", release_id)
    # Versions before 0.2.0 stored them below the release, of whichever device.
    folders = [release_id, *(f"{device}/{release_id}" for device in store.folders("reports/"))]
    keys = [key for folder in folders for key in store.list(f"reports/{folder}/")]
    reports: list[LatencyReport] = []
    refused: list[RefusedReport] = []
    for key in keys:
        try:
            reports.append(read_report(store, key))
        except (ContractError, NotStoredError) as error:
            refused.append(RefusedReport(key, str(error)))
    return reports, refused


def read_report(store: ObjectStore, key: str) -> LatencyReport:
    """The report that is stored under a key; threads may read many at once.

    Raises:
        NotStoredError: there is none any more.
        LaterVersionError: it is of a later version.
        ContractError: it is no report, or that of another key.
        StoreUnavailableError: the store does not answer.
    """
    try:
        data = store.get(key, max_bytes=MAX_SENT_BYTES)
    except ContractError:  # of an earlier version, which had no such limit, or no report: one at a time
        with _parsing:
            report = _large_report(store.get(key, max_bytes=LatencyReport.max_bytes))
    else:
        with _parsing:
            report = LatencyReport.from_json(data)
    if key not in (report.key(), report.earlier_key()):
        raise ContractError(f"report: stored under {key[:200]!r}, wanted {report.key()!r}")
    return report


def _large_report(data: bytes) -> LatencyReport:
    """What makes a report large is samples; of what is no report, other JSON takes forty times its size in memory."""
    signs = sum(data.count(sign) for sign in (b"[", b"{", b'"'))
    if signs > _MAX_SIGNS:
        raise ContractError(f'report of {len(data)} bytes: got {signs} of [, {{ and ", wanted at most {_MAX_SIGNS}')
    return LatencyReport.from_json(data)


class Answer(Protocol):
    """What says which question was asked, and whether it was answered: a report, or a row of one."""

    @property
    def release_id(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def runtime(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def started_at(self) -> str: ...


_AnyAnswer = TypeVar("_AnyAnswer", bound=Answer)


def counted_once(reports: Sequence[_AnyAnswer]) -> list[_AnyAnswer]:
    """One report for each release, target, device and runtime: the first that was measured, else the last that failed.

    A device that lost its memory measures again, and reports again.
    """
    counted: dict[tuple[str, str, str, str], _AnyAnswer] = {}
    for report in sorted(reports, key=lambda one: (one.status == MEASURED, one.started_at)):
        question = (report.release_id, report.target, report.device, report.runtime)
        if question not in counted or counted[question].status != MEASURED:
            counted[question] = report
    chosen = {id(report) for report in counted.values()}
    return [report for report in reports if id(report) in chosen]
