"""Figures for Prometheus, of runs, devices and releases: a file that the textfile collector of its node_exporter reads.

No port is opened for them: whoever may read `.modnet` reads `metrics/modnet.prom`. The flow `collect` writes it every
ten minutes. Where that does not happen, `node_textfile_mtime_seconds` says so. The ingest writes its own beside it
(`infra.ingest.counts`).
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from infra.device.documents.checks import time_of
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore
from infra.local_stack.environments import MARKER
from tasks.fleet_page import Fleet

FILE = "metrics/modnet.prom"  # below the stack's folder
FAILED_WITHIN = timedelta(days=1)
QUEUED, UNDER_WAY, FAILED = "queued", "under way", "failed"
QUEUED_TYPES = (StateType.SCHEDULED, StateType.PENDING)
UNDER_WAY_TYPES = (StateType.RUNNING, StateType.CANCELLING)
FAILED_TYPES = (StateType.FAILED, StateType.CRASHED)
_STATES = {
    **dict.fromkeys(QUEUED_TYPES, QUEUED),
    **dict.fromkeys(UNDER_WAY_TYPES, UNDER_WAY),
    **dict.fromkeys(FAILED_TYPES, FAILED),
}


def write_metrics(fleet: Fleet, store: ObjectStore) -> None:
    """Replaces the file, where this process belongs to a stack. What cannot be written is a warning in the log."""
    if (folder := os.environ.get(MARKER)) is None:
        return
    try:
        path = Path(folder) / FILE
        path.parent.mkdir(exist_ok=True)
        with get_client(sync_client=True) as client:
            registry = metrics(fleet, store, client, Path(folder))
        write_to_textfile(str(path), registry)
    except Exception as error:  # Prefect's client fails in many ways, and what is counted is done already
        get_run_logger().warning("metrics cannot be written: %s: %s", type(error).__name__, shown(error))


def metrics(fleet: Fleet, store: ObjectStore, client: SyncPrefectClient, folder: Path) -> CollectorRegistry:
    """All figures. Times are seconds since 1970, as Prometheus has them: what is too old, a rule there says."""
    registry = CollectorRegistry()

    def gauge(name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"modnet_{name}", says, labels, registry=registry)

    reports = gauge("reports", "Reports in the store, as collected, by what they say.", "status")
    for status, count in Counter(row.status for row in fleet.rows).items():
        reports.labels(status).set(count)
    gauge("reports_quarantined", "Objects found among the reports that are none.").set(fleet.quarantined_count)
    gauge("devices_enrolled", "Devices that have a key and were not revoked.").set(len(fleet.enrolled))
    silent = {one.device for one in fleet.silent()}
    gauge("devices_silent", "Devices that have not reported what they were to.").set(len(silent))
    trained = sum(key.endswith("/retrained.json") for key in store.list("candidates/"))
    gauge("candidates_trained", "Candidates in the store that were retrained.").set(trained)
    pointers = [*fleet.running.pointers.values(), *fleet.running.pins.values()]
    if pointers:
        says = "When what devices run was changed last."
        gauge("last_release_timestamp_seconds", says).set(max(time_of(one.moved_at).timestamp() for one in pointers))
    gauge("disk_free_bytes", "Free on the disk of the stack's folder.").set(shutil.disk_usage(folder).free)

    says = f"Flow runs that no other has started: {QUEUED} and due, {UNDER_WAY}, or {FAILED} within a day."
    runs = gauge("flow_runs", says, "flow", "state")
    succeeded = gauge("last_success_timestamp_seconds", "When a run of the flow completed last.", "flow")
    now = datetime.now(UTC)
    found = _runs(client, [*QUEUED_TYPES, *UNDER_WAY_TYPES], expected_start_time={"before_": now})
    found += _runs(client, FAILED_TYPES, end_time={"after_": now - FAILED_WITHIN})
    counts = Counter((run.flow_id, _STATES[run.state_type]) for run in found if run.state_type is not None)
    for flow in client.read_flows():
        for state in (QUEUED, UNDER_WAY, FAILED):
            runs.labels(flow.name, state).set(counts[flow.id, state])
        for last in _runs(client, [StateType.COMPLETED], flow.id, limit=1):
            if last.end_time is not None:
                succeeded.labels(flow.name).set(last.end_time.timestamp())
    return registry


def _runs(
    client: SyncPrefectClient,
    states: Sequence[StateType],
    flow_id: UUID | None = None,
    limit: int | None = None,
    **when: Mapping[str, datetime],
) -> list[FlowRun]:
    """Flow runs that no other has started, those that ended last first; at most as many as Prefect gives at once."""
    where = {"state": {"type": {"any_": list(states)}}, "parent_task_run_id": {"is_null_": True}, **when}
    return client.read_flow_runs(
        flow_filter=None if flow_id is None else FlowFilter.model_validate({"id": {"any_": [flow_id]}}),
        flow_run_filter=FlowRunFilter.model_validate(where),
        sort=FlowRunSort.END_TIME_DESC,
        limit=limit,
    )
