"""One round of the agent: look at each target's pointer, measure what is new, send the reports.

What it does about each answer, by the error that the answer becomes:

    NotStoredError at the pointer                      skip    no release was promoted for this target
    UntrustedError                                     wait    what is signed is forged, replayed, mixed or out of date
    StoreUnavailableError                              wait    no answer, 5xx, a clock that is wrong, a portal
    StoreRefusesError                                  wait    403, no such bucket, a request that is not understood
    DeviceMissingError                                 wait    the stick is not plugged in
    DiskFullError, other OSErrors                      wait    the disk of this machine
    ContractError, DigestMismatchError, NotStoredError report  once for each release; a pointer that is malformed names
                                                               none, and only says so in the log
    SettingsError                                      stop    what nobody but the owner of this machine can mend

And about each answer to a report that it sends:

    StoreUnavailableError                              wait    no answer, busy, no room there, a clock that is wrong,
                                                               a portal, a body that was cut on its way
    StoreRefusesError                                  wait    the key is unknown, revoked, another device's, or has
                                                               used up what it may store
    ContractError                                      set aside as .damaged, told in the log: malformed, too large,
                                                               or another report is stored under its name

After a wait or a report everything is tried again in the next round, and only `stop` ends a loop.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from infra.device.agent.seen import SeenReleases
from infra.device.agent.spool import ReportTaker, Spool
from infra.device.documents.checks import MAX_TEXT, utc_now
from infra.device.documents.latency_report import FAILED, MEASURED, LatencyReport
from infra.device.documents.latency_summary import intervals, percentile_note, summarise
from infra.device.documents.manifest import TargetFiles
from infra.device.documents.pointer import Pointer
from infra.device.errors import (
    ContractError,
    DeviceMissingError,
    DigestMismatchError,
    NotStoredError,
    StoreRefusesError,
    UntrustedError,
)
from infra.device.files.local_errors import local_errors
from infra.device.measuring.latency import measure
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.runtime import LoadedModel, device_of, load_ir, runtime_text
from infra.device.releases import fetch_release, manifest_of, read_current

if TYPE_CHECKING:
    from infra.device.trust import Trust

_log = logging.getLogger(__name__)

SKIPPED = "skipped"
WAITING = "waiting"
REJECTED = "rejected"
_OPEN = "-dynamic"  # targets whose network takes any size, and is measured in one of the runtime's choice
_REMEMBERED = {MEASURED: MEASURED, FAILED: REJECTED}


@dataclass(frozen=True)
class MeasureSettings:
    """How a model is measured; `threads`, for models on the CPU, None leaves them to the runtime."""

    warm_up: int = 5
    repeats: int = 50
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one target.

    `measured`, `skipped` (nothing new), `waiting` (the store refuses, or the device is not there), or `rejected` (the
    model cannot be used).
    """

    target: str
    status: str
    detail: str


class Agent:
    """Measures releases on this device.

    Work folder: `spool/` (reports not yet sent), `releases/` (the model being measured, removed afterwards),
    `seen.json` (what was measured or rejected). The device may send reports but not read them, so it remembers by
    itself what it has reported. `reports` takes them; None for the store itself.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        device: str,
        work_folder: Path,
        settings: MeasureSettings,
        reports: ReportTaker | None = None,
        load: Callable[..., LoadedModel] = load_ir,
    ) -> None:
        self._trust = trust
        self._store = trust.store
        self._reports = trust.store if reports is None else reports
        self._device = device
        self._settings = settings
        self._load = load
        self._work_folder = work_folder
        self._spool = Spool(work_folder / "spool")
        self._releases = work_folder / "releases"
        self._seen = SeenReleases(work_folder / "seen.json")
        # A report is on the disk before the memory of it is: who was killed in between remembers by the report.
        for report in self._spool.reports():
            question = self._question(report.release_id, report.target, report.runtime)
            if report.device == device and self._seen.status(question) is None:
                self._seen.add(question, _REMEMBERED[report.status])

    def run_once(self, targets: Sequence[str]) -> list[Outcome]:
        """One round over the targets, in order; reports are sent as they come.

        Raises:
            StoreUnavailableError: the store does not answer; what was measured stays in the spool.
            StoreRefusesError: the store takes no report of this device; they stay in the spool.
            SettingsError: this machine has not what a target needs.
            DiskFullError: no room for the model, its report or the memory of it.
        """
        with local_errors(str(self._work_folder)):
            self._spool.upload(self._reports)
            outcomes = []
            for target in targets:
                try:
                    outcome = self._run_target(target)
                except (StoreRefusesError, DeviceMissingError, UntrustedError) as error:  # the others may go well
                    outcome = Outcome(target, WAITING, str(error))
                outcomes.append(outcome)
                level = logging.INFO if outcome.status in (MEASURED, SKIPPED) else logging.ERROR
                _log.log(level, "%s: %s (%s)", target, outcome.status, outcome.detail)
                self._spool.upload(self._reports)
            return outcomes

    def _run_target(self, target: str) -> Outcome:
        try:
            self._trust.refresh()
            pointer = read_current(self._trust, target)
        except NotStoredError:
            return Outcome(target, SKIPPED, "no release was promoted for it")
        except (ContractError, DigestMismatchError) as error:
            return Outcome(target, REJECTED, str(error))
        question = self._question(pointer.release_id, target, runtime_text())
        if self._seen.status(question) == MEASURED:
            return Outcome(target, SKIPPED, f"release {pointer.release_id} was measured before")
        new_report = partial(
            LatencyReport,
            release_id=pointer.release_id,
            target=target,
            device=self._device,
            runtime=runtime_text(),
            started_at=utc_now(),
        )
        try:
            report = self._measure(pointer, new_report)
        except (ContractError, DigestMismatchError, NotStoredError) as error:
            if self._seen.status(question) != REJECTED:
                reason = str(error)[:MAX_TEXT]
                self._spool.add(new_report(status=FAILED, conditions=machine_conditions(), reason=reason))
                self._seen.add(question, REJECTED)
            return Outcome(target, REJECTED, str(error))
        self._spool.add(report)
        self._seen.add(question, MEASURED)
        return Outcome(target, MEASURED, f"release {pointer.release_id}: {_in_words(report)}")

    def _question(self, release_id: str, target: str, runtime: str) -> str:
        return f"{release_id}/{target}/{self._device}/{runtime} in {self._store.address}"

    def _measure(self, pointer: Pointer, new_report: Callable[..., LatencyReport]) -> LatencyReport:
        try:
            ir_xml = fetch_release(self._store, pointer, self._releases)
            device = device_of(pointer.target)
            threads = self._settings.threads if device == "CPU" else None
            model = self._load(ir_xml, device=device, threads=threads)
            if not pointer.target.endswith(_OPEN):
                _check_shape(model.input_shape, manifest_of(self._store, pointer).targets[pointer.target])
            conditions = machine_conditions()
            samples = measure(model.run_once, warm_up=self._settings.warm_up, repeats=self._settings.repeats)
        finally:
            shutil.rmtree(self._releases, ignore_errors=True)
        if model.threads is not None:
            conditions["inference_threads_count"] = model.threads
        return new_report(
            status=MEASURED,
            conditions=conditions,
            precision=model.precision,
            input_shape=model.input_shape,
            load_ms=model.load_ms,
            warm_up_ms=samples.warm_up_ms,
            samples_ms=samples.samples_ms,
            summary=summarise(samples.samples_ms),
            intervals_ms=intervals(samples.samples_ms),
        )


def _check_shape(got: tuple[int, ...], target_files: TargetFiles) -> None:
    """Refuses a network of another input than the manifest says: its time would be that of another network.

    Raises:
        ContractError: says both.
    """
    if got != target_files.input_shape:
        raise ContractError(
            f"{target_files.ir_xml}: got a network whose input is {list(got)}, wanted "
            f"{list(target_files.input_shape)}, as the manifest says"
        )


def _in_words(report: LatencyReport) -> str:
    summary = summarise(report.samples_ms)
    times = ", ".join(f"{name} {getattr(summary, name + '_ms'):.2f} ms" for name in ("p50", "p90", "p99"))
    note = percentile_note(len(report.samples_ms))
    return f"{times}, {report.precision or 'precision unknown'}{'; ' + note if note else ''}"
