"""One round of the agent: look at each target's pointer, measure what is new, then what is on trial, send the reports.

What it does about each answer, by the error that the answer becomes:

    NotStoredError at the pointer                      skip    no release was promoted for this target
    UntrustedError                                     wait    what is signed is forged, replayed, mixed or out of date
    StoreUnavailableError                              wait    no answer, 5xx, a wrong clock, a portal, a trickle
    StoreRefusesError                                  wait    403, no such bucket, a request that is not understood
    DiskFullError, other OSErrors                      wait    the disk of this machine
    ContractError, DigestMismatchError, NotStoredError report  once for each release, which is looked at again; a
                                                               pointer that is malformed names none, and only says so in
                                                               the log
    any but StoreUnavailableError at the trials        log     nothing is on trial for this target in this round

About what becomes of the child that measures:

    SettingsError                                      wait    its Python is missing, or the runtime is gone
    DeviceMissingError                                 wait    the stick is not plugged in, or lost
    ContractError                                      report  once for each release and runtime: the runtime refuses
                                                               the network, or its input has another shape
    golden images wrong                                report  once, without a latency
    ChildLostError                                     wait    the first time: it crashed, hung, or made no sense
                                                       report  the second time, also where the agent was killed with it
    another runtime than it said before                wait    somebody updates it

And about each answer to a report that it sends:

    StoreUnavailableError                              wait    no answer, busy, no room there, a clock that is wrong,
                                                               a portal, a body that was cut on its way
    StoreRefusesError                                  wait    the key is unknown, revoked, another device's, or has
                                                               used up what it may store
    ContractError                                      set aside as .damaged, told in the log: malformed, too large,
                                                               or another report is stored under its name

After a wait or a report everything is tried again in the next round. Nothing here ends a loop but a signal: what only
the owner of this machine can mend is looked for before the first round (`check_runtimes`), and stops it there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infra.device.agent.child import run_child
from infra.device.agent.findings import Findings
from infra.device.agent.pace import ASKED_WITHIN_S, must_move
from infra.device.agent.runtimes import ask_runtime
from infra.device.agent.seen import MOST_ATTEMPTS, REFUSED, REJECTED, SeenReleases
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.agent.spool import ReportTaker, Spool
from infra.device.agent.work import Work
from infra.device.documents.checks import MAX_TEXT, utc_now
from infra.device.documents.latency_report import FAILED, MEASURED, LatencyReport
from infra.device.documents.latency_summary import percentile_note, summarise
from infra.device.documents.pointer import Pointer
from infra.device.errors import (
    ChildLostError,
    ContractError,
    DigestMismatchError,
    InfraError,
    NotStoredError,
    SettingsError,
    UntrustedError,
)
from infra.device.files.local_errors import local_errors
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.request import MeasureSettings, Network, Request
from infra.device.releases import current_for, read_trials

if TYPE_CHECKING:
    from infra.device.trust import Trust

_log = logging.getLogger(__name__)

SKIPPED = "skipped"
WAITING = "waiting"
_HERE, _DEADLINES = (RuntimeSettings(),), Deadlines()
_KILLED = f"tried {MOST_ATTEMPTS} times; at last the agent was killed together with the child"


@dataclass(frozen=True)
class Outcome:
    """What became of one release on one runtime: that of a target, or one on trial.

    `measured`, `skipped` (nothing new), `waiting` (the store, the device or the runtime is not there, or a child was
    lost for the first time), or `rejected` (the model cannot be used).
    """

    target: str
    status: str
    detail: str
    runtime: str = ""


class Agent:
    """Measures releases on this device, in the main thread of its process.

    Work folder: `spool/` (reports not yet sent), `releases/` (the model being measured, removed afterwards),
    `seen.json` (what was measured, rejected or tried). The device may send reports but not read them, so it remembers
    by itself what it has reported. `reports` takes them; None for the store itself.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        device: str,
        work_folder: Path,
        settings: MeasureSettings,
        reports: ReportTaker | None = None,
        runtimes: Sequence[RuntimeSettings] = _HERE,
        deadlines: Deadlines = _DEADLINES,
    ) -> None:
        self._trust = trust
        self._reports = trust.store if reports is None else reports
        self._device = device
        self._runtimes = runtimes
        self._deadlines = deadlines
        self._work_folder = work_folder
        self._work = Work(trust, work_folder / "releases", settings)
        self._spool = Spool(work_folder / "spool")
        self._seen = SeenReleases(work_folder / "seen.json")
        # A report is on the disk before the memory of it is: who was killed in between remembers by the report.
        for report in self._spool.reports():
            if report.device == device:
                self._seen.add_report(self._question(report.release_id, report.target, report.runtime), report)

    def run_once(self, targets: Sequence[str]) -> list[Outcome]:
        """One round over the targets, in order, on each runtime that runs them; reports are sent as they come.

        What is on trial for a target comes after the release that runs here. It never becomes that one.

        Raises:
            StoreUnavailableError: the store does not answer; what was measured stays in the spool.
            StoreRefusesError: the store takes no report of this device; they stay in the spool.
            DiskFullError: no room for the model, its report or the memory of it.
        """
        with local_errors(str(self._work_folder)):
            self._send()
            texts: dict[str, str | InfraError] = {}  # of the runtimes, each asked once a round
            outcomes = []
            for target, runtime in ((one, other) for one in targets for other in self._runtimes if other.runs(one)):
                for found in self._run_target(target, runtime, texts):
                    outcome = replace(found, runtime=runtime.name)
                    outcomes.append(outcome)
                    level = logging.INFO if outcome.status in (MEASURED, SKIPPED) else logging.ERROR
                    where = f" on {runtime.name}" if len(self._runtimes) > 1 else ""
                    _log.log(level, "%s%s: %s (%s)", target, where, outcome.status, outcome.detail)
                    self._send()
            return outcomes

    def _send(self) -> None:
        self._seen.keep()
        with must_move("the reports", ASKED_WITHIN_S, lambda: len(self._spool.pending())):
            self._spool.upload(self._reports)

    def _run_target(
        self, target: str, runtime: RuntimeSettings, texts: dict[str, str | InfraError]
    ) -> Iterator[Outcome]:
        """What becomes of the release that runs here, then of each one on trial, measured in turns with it."""
        try:
            with must_move("what is signed", ASKED_WITHIN_S):
                self._trust.refresh()
                pointer = current_for(self._trust, target, self._device)
        except NotStoredError:
            yield Outcome(target, SKIPPED, "no release was promoted for it")
        except (ContractError, DigestMismatchError) as error:
            yield Outcome(target, REJECTED, str(error))
        except (SettingsError, UntrustedError) as error:
            yield Outcome(target, WAITING, str(error))
        else:
            outcome = self._run_release(pointer, runtime, texts)
            yield outcome
            if outcome.status != WAITING:  # what it waits for, a trial would wait for as well
                for trial in self._trials(pointer):
                    yield self._run_release(trial, runtime, texts, beside=pointer.release_id)

    def _trials(self, current: Pointer) -> tuple[Pointer, ...]:
        try:
            with must_move("what is signed", ASKED_WITHIN_S):
                return read_trials(self._trust, current.target).beside(current)
        except NotStoredError:
            return ()
        except (ContractError, DigestMismatchError, SettingsError, UntrustedError) as error:
            _log.warning("%s: what is on trial is left out: %s", current.target, error)
            return ()

    def _run_release(
        self, pointer: Pointer, runtime: RuntimeSettings, texts: dict[str, str | InfraError], beside: str | None = None
    ) -> Outcome:
        """What becomes of a release; of one on trial, once beside each release that runs here meanwhile."""
        try:
            text = self._runtime_text(runtime, texts)
            compared = beside and f"{self._question(pointer.release_id, pointer.target, text)} beside {beside}"
            outcome = self._look_at(pointer, runtime, text, compared)
            if compared and outcome.status == MEASURED:
                self._seen.add(compared, MEASURED)
            return outcome
        except (SettingsError, UntrustedError, ChildLostError) as error:  # the others may go well
            return Outcome(pointer.target, WAITING, str(error))

    def _look_at(self, pointer: Pointer, runtime: RuntimeSettings, text: str, compared: str | None) -> Outcome:
        target = pointer.target
        question = self._question(pointer.release_id, target, text)
        status = self._seen.status(question)
        if status == MEASURED and (compared is None or self._seen.status(compared) == MEASURED):
            return Outcome(target, SKIPPED, f"release {pointer.release_id} was measured before")
        if status == REFUSED:
            return Outcome(target, REJECTED, f"release {pointer.release_id} was reported before, and is left alone")
        new_report = partial(
            LatencyReport,
            release_id=pointer.release_id,
            target=target,
            device=self._device,
            runtime=text,
            started_at=utc_now(),
            conditions=machine_conditions(),
        )
        if self._seen.attempts(question) == MOST_ATTEMPTS:
            new_report = partial(new_report, started_at=self._seen.attempt_at(question))
            return self._failed(question, REFUSED, new_report, _KILLED)
        with self._work.folder():
            return self._measure(pointer, runtime, question, new_report)

    def _runtime_text(self, runtime: RuntimeSettings, texts: dict[str, str | InfraError]) -> str:
        if runtime.name not in texts:
            try:
                texts[runtime.name] = ask_runtime(runtime, self._deadlines)
            except (SettingsError, ChildLostError) as error:
                texts[runtime.name] = error
        text = texts[runtime.name]
        if isinstance(text, InfraError):
            raise text
        return text

    def _question(self, release_id: str, target: str, runtime: str) -> str:
        return f"{release_id}/{target}/{self._device}/{runtime} in {self._trust.store.address}"

    def _has_refused(self, release_id: str | None, target: str, runtime: str) -> bool:
        """It crashed, hung or was wrong here: it would take the child of the next one with it."""
        return release_id is not None and self._seen.status(self._question(release_id, target, runtime)) == REFUSED

    def _measure(
        self, pointer: Pointer, runtime: RuntimeSettings, question: str, new_report: partial[LatencyReport]
    ) -> Outcome:
        """Lets a child measure what the pointer leads to, and keeps what became of it."""
        before, text = self._seen.status(question), new_report.keywords["runtime"]
        try:
            network = self._work.fetch(pointer, compares=not self._has_refused(pointer.replaces, pointer.target, text))
        except (ContractError, DigestMismatchError, NotStoredError) as error:
            if before is not None:  # it was told, or a child has been lost on it when it was whole
                return Outcome(pointer.target, REJECTED, str(error))
            return self._failed(question, REJECTED, new_report, str(error))
        self._seen.start(question, new_report.keywords["started_at"])
        try:
            report = self._report_of_child(runtime, network, new_report)
        except ContractError as error:
            return self._failed(question, REFUSED, new_report, str(error))
        except ChildLostError as error:
            if self._seen.attempts(question) < MOST_ATTEMPTS:
                return Outcome(pointer.target, WAITING, f"{error}; it is tried once more")
            return self._failed(question, REFUSED, new_report, f"tried {MOST_ATTEMPTS} times; at last it {error}")
        except BaseException:  # told to end, or to wait: that was no attempt
            self._seen.add(question, before)
            raise
        if report.status != MEASURED:
            return self._keep(question, REFUSED, report, str(report.reason))
        return self._keep(question, MEASURED, report, f"release {pointer.release_id}: {_in_words(report)}")

    def _report_of_child(
        self, runtime: RuntimeSettings, network: Network, new_report: partial[LatencyReport]
    ) -> LatencyReport:
        """What a child found; one that is lost after it has measured costs the comparison alone."""
        findings, error = Findings(), None
        try:
            run_child(runtime, Request(network=network), self._deadlines, findings.take)
        except InfraError as raised:
            error = raised
        wanted = new_report.keywords["runtime"]
        if findings.runtime not in ("", wanted):
            raise SettingsError(f"runtime {runtime.name}: got {findings.runtime}, it was {wanted} a moment ago")
        if error is not None and not findings.are_measured:
            raise error
        if error is not None:
            _log.warning("%s: no comparison with the release before: %s", network.target, error)
        return findings.report(new_report)

    def _failed(self, question: str, status: str, new_report: partial[LatencyReport], reason: str) -> Outcome:
        return self._keep(question, status, new_report(status=FAILED, reason=reason[:MAX_TEXT]), reason)

    def _keep(self, question: str, status: str, report: LatencyReport, detail: str) -> Outcome:
        """The report first: see `__init__`."""
        self._spool.add(report)
        self._seen.add(question, status)
        return Outcome(report.target, MEASURED if status == MEASURED else REJECTED, detail)


def _in_words(report: LatencyReport) -> str:
    summary = summarise(report.samples_ms)
    times = ", ".join(f"{name} {getattr(summary, name + '_ms'):.2f} ms" for name in ("p50", "p90", "p99"))
    note = percentile_note(len(report.samples_ms))
    return f"{times}, {report.precision or 'precision unknown'}{'; ' + note if note else ''}"
