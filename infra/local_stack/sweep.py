"""Settles flow and task runs that nobody computes any more, and ends what killed runs have left behind.

Prefect learns from the worker alone that a process is gone: without it a run stays `Running` for ever, and later ones
wait for it. Of a run that a stack on this machine has started, the list of processes decides. Of any other its
heartbeat does. One that has been silent for long is listened for while the server is there: it may have been cut off.
A run that was settled and yet lives goes on. Its answers are in the store, and what it says at its end counts.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.device.shown import shown
from infra.local_stack.environments import MARKER
from infra.local_stack.prefect_api import BEGUN, ENDED, PrefectApi
from infra.local_stack.processes import Process, end_processes, processes_by, processes_with
from infra.local_stack.services import COMPUTING, WORKER

AGAIN = "again"
"""Tag of a run that was started in place of a lost one."""
SWEPT = "What a sweep has settled and ended."
SILENT_FOR = timedelta(minutes=30)
LISTENED_FOR_S = 420.0  # Prefect's own heartbeat comes every 180 s where nobody says otherwise
_LOOK_EVERY_S = 15.0
_YOUNG = timedelta(minutes=1)  # until then a process may not be there yet, and the last events not either
_AGAIN_WITHIN = timedelta(hours=3)
_LEFT_GRACE_S = 5.0
_RUN_ID = "PREFECT__FLOW_RUN_ID"

Row = dict[str, str]
Run = Mapping[str, Any]
Carriers = Mapping[str, list[Process]]  # processes by the flow run whose id they carry


def skip_missed_runs(api: PrefectApi) -> None:
    """Sets runs of schedules that are overdue to `Cancelled`; what somebody has asked for still runs.

    The next worker would start them at once: night after night, at whatever hour somebody starts the services.
    """
    for run in api.open_runs():
        due = datetime.fromisoformat(run["expected_start_time"])
        if run["auto_scheduled"] and run["state"]["type"] == "SCHEDULED" and due < datetime.now(UTC):
            api.end(str(run["id"]), "CANCELLED", "the services were not there when it was due")


def is_computed(run: Run, carriers: Carriers) -> bool:
    """The process of a flow run is still on this machine; what Ray leaves behind of a killed one does not count."""
    if str(run["id"]) == os.environ.get(_RUN_ID):
        return True  # by this process, which is none of the carriers
    found = [str(process.pid) for process in carriers.get(str(run["id"]), ())]
    pid = run["infrastructure_pid"]  # the worker says it a moment after the start
    return bool(found) if pid is None else str(pid) in found


def sweep(api: PrefectApi, folder: str | None, listened_for_s: float) -> list[Row]:
    """Settles every flow run, subflow run and task run that is lost, and says what it did, a row for each.

    Lost are runs whose process is gone, and what is open below a run that has ended: it takes its end. Processes of
    this stack that an ended run has left behind are ended. A computing run starts again, once.

    Args:
        folder: of the stack on this machine whose processes may be ended; None for none.
        listened_for_s: how long a silent run of another machine is listened for; 0 leaves all of these alone.

    Raises:
        StackError: Prefect does not answer; what was settled before stays so.
    """
    rows: list[Row] = []
    begun = api.begun_runs()
    silent = []
    carriers = _carriers()  # looked at last: what has begun has its process by now
    for run in begun:
        has_come = run["state"]["type"] != "PENDING" or not _is_young(run["state"])
        if has_come and not is_computed(run, carriers):
            if str(run["labels"].get("prefect.worker.name", "")).startswith(WORKER):
                rows += _settled(api, run, f"its process is gone from {platform.node()}")
            elif not api.was_heard(str(run["id"]), datetime.now(UTC) - SILENT_FOR):
                silent.append(run)
    if listened_for_s:
        for lost in _still_silent(api, silent, listened_for_s):
            silence = f"it was not heard for {(SILENT_FOR.total_seconds() + listened_for_s) / 60:.0f} minutes"
            rows += _settled(api, lost, silence)
    for parent_id in api.runs_with_open_parts():
        parent = api.run(parent_id)
        if _is_over(parent, carriers):
            rows += _settled_below(api, parent)
    if folder is not None:
        rows += _ended_processes(api, carriers, folder)
    since = datetime.now(UTC) - _AGAIN_WITHIN
    for run in api.crashed_runs(since):
        if _was_lost_of_late(api, run, since) and (started := start_again(api, run)):
            rows.append(_row(f"flow run {run['name']}", "Crashed", "AGAIN", f"flow run {started}"))
    return rows


def _was_lost_of_late(api: PrefectApi, run: Run, since: datetime) -> bool:
    """It was heard since then, or should have begun: one that is killed in its first seconds is never heard."""
    expected = run["expected_start_time"]
    is_new = expected is not None and datetime.fromisoformat(expected) >= since
    return is_new or api.was_heard(str(run["id"]), since)


def start_again(api: PrefectApi, run: Run) -> str | None:
    """Starts a crashed run anew, which goes on from the store, and returns the new run's id.

    None where it does not compute, was started again before, or is itself one that was started again.
    """
    if run["state"]["type"] != "CRASHED" or run["work_queue_name"] != COMPUTING or AGAIN in run["tags"]:
        return None
    return api.start_again(run, [*run["tags"], AGAIN])


def computes_here(api: PrefectApi) -> bool:
    """A flow run is under way whose process is on this machine."""
    return bool(_computed_here(api))


def cancel_runs(api: PrefectApi, because: str) -> None:
    """Sets what computes on this machine to `Cancelled`, before its processes are ended."""
    for run in _computed_here(api):
        _settled(api, run, because, "CANCELLED")


def settle_begun(api: PrefectApi, because: str) -> list[Row]:
    """Settles all runs that have begun: for a worker that starts and knows that nothing of before computes any more."""
    return [row for run in api.begun_runs() for row in _settled(api, run, because)]


def as_lines(rows: Iterable[Row]) -> list[str]:
    """One line for each row of a sweep."""
    return [shown(f"{row['what']}: {row['was']}, {row['is']} now: {row['because']}") for row in rows]


def _carriers() -> Carriers:
    return processes_by(_RUN_ID)


def _computed_here(api: PrefectApi) -> list[Run]:
    begun = api.begun_runs()
    carriers = _carriers()
    return [run for run in begun if is_computed(run, carriers)]


def _still_silent(api: PrefectApi, silent: Sequence[Run], listened_for_s: float) -> list[Run]:
    """Those of the runs of which nothing is heard meanwhile."""
    began, deadline = datetime.now(UTC), time.monotonic() + listened_for_s
    while silent and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        silent = [run for run in silent if not api.was_heard(str(run["id"]), began)]
    return list(silent)


def _settled(api: PrefectApi, run: Run, because: str, state: str = "CRASHED") -> list[Row]:
    """Ends a flow run that is still under way, and what is open below it."""
    now = api.state(str(run["id"]))
    if now["type"] not in BEGUN:  # it has ended since it was found
        return []
    state = "CANCELLED" if now["type"] == "CANCELLING" else state
    api.end(str(run["id"]), state, because)
    return [_row(f"flow run {run['name']}", now["name"], state, because), *_settled_below(api, api.run(str(run["id"])))]


def _settled_below(api: PrefectApi, parent: Run) -> list[Row]:
    """Ends what is open below a flow run that has ended, as it has ended."""
    rows, state = [], str(parent["state"]["type"])
    because = f"its flow run {parent['name']} is {state.capitalize()}"
    for task_run in api.open_task_runs(str(parent["id"])):
        api.end_task_run(str(task_run["id"]), state, because)
        # Not its `state`: of a task whose event came as the server was killed there may be none.
        rows.append(_row(f"task run {task_run['name']}", task_run["state_name"] or "open", state, because))
    for run_id in api.subflow_runs([str(parent["id"])]):
        rows += _settled(api, api.run(run_id), because, state)
    return rows


def _ended_processes(api: PrefectApi, carriers: Carriers, folder: str) -> list[Row]:
    """Ends the processes of this stack whose flow run has ended without them; its own process is no such."""
    rows, of_stack = [], processes_with(MARKER, folder)
    for run in api.runs(list(carriers)):
        left = [process for process in carriers[str(run["id"])] if process in of_stack]
        if left and run["state"]["type"] in ENDED and not is_computed(run, carriers):
            end_processes(left, _LEFT_GRACE_S)
            pids = ", ".join(str(process.pid) for process in left)
            because = f"left behind by flow run {run['name']}, which is {run['state']['name']}"
            rows.append(_row(f"processes {pids}", "running", "ENDED", because))
    return rows


def _is_over(run: Run, carriers: Carriers) -> bool:
    """A flow run has ended, and no word of what is below it can still be on its way."""
    if run["state"]["type"] == "CRASHED":
        return not is_computed(run, carriers)
    return run["state"]["type"] in ENDED and not _is_young(run["state"])


def _is_young(state: Mapping[str, Any]) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(state["timestamp"]) < _YOUNG


def _row(what: str, was: str, now: str, because: str) -> Row:
    return {"what": what, "was": was, "is": now.capitalize(), "because": because}
