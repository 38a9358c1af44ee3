"""Flow runs that were under way, or due, while the services were not there.

Of a process that is gone Prefect learns from the worker alone: without it the run never ends, holds its deployment's
slot, and every later run waits for it. What a schedule wanted meanwhile, the next worker would start at once: night
after night of it, at whatever hour somebody starts the services.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.processes import processes_with

_BEGUN = ("PENDING", "RUNNING", "CANCELLING")


def begun_runs(api: PrefectApi, work_pool: str) -> list[dict[str, Any]]:
    """Flow runs that workers of this pool have taken and that have not ended."""
    return [run for run in api.open_runs() if run["work_pool_name"] == work_pool and run["state"]["type"] in _BEGUN]


def skip_missed_runs(api: PrefectApi) -> None:
    """Sets runs of schedules that are overdue to `Cancelled`; what somebody has asked for still runs."""
    for run in api.open_runs():
        due = datetime.fromisoformat(run["expected_start_time"])
        if run["auto_scheduled"] and run["state"]["type"] == "SCHEDULED" and due < datetime.now(UTC):
            api.end(str(run["id"]), "CANCELLED", "the services were not there when it was due")


def is_computed(run: Mapping[str, Any]) -> bool:
    """The process of a flow run is still there; what Ray leaves behind of a killed one does not count."""
    carriers = processes_with("PREFECT__FLOW_RUN_ID", str(run["id"]))
    return str(run["infrastructure_pid"]) in [str(process.pid) for process in carriers]


def crash_runs(api: PrefectApi, run_ids: Sequence[str]) -> None:
    """Sets flow runs to `Crashed`, and what of their subflow runs has not ended."""
    for run_id in run_ids:
        if api.state(run_id)["type"] in _BEGUN:
            api.end(run_id, "CRASHED", "its process was gone when the services were started")
    if run_ids:
        crash_runs(api, api.subflow_runs(run_ids))
