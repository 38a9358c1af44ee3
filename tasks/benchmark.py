"""Task of the flow benchmark."""

import time
from datetime import UTC, datetime, timedelta

from prefect import get_run_logger, task

from infra.device.documents.latency_report import LatencyReport
from infra.device.releases import read_manifest
from infra.device.reports import read_reports
from infra.device.shown import shown
from infra.publishing.releases import await_reports
from modnet.configs import BenchmarkConfig
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_trust
from tasks.stored import this_store

POLL_S = 2.0


@task(task_run_name="reports of {release_id}", retry_condition_fn=is_transient, **RETRIES)
def collect_reports(release_id: str, config: BenchmarkConfig) -> list[LatencyReport]:
    """Waits for a measured report of every awaited target of the release, and for as many as the config wants.

    Or until the time is up; refused ones are in the log.
    """
    store = this_store()
    targets = set(read_manifest(this_trust(), release_id).targets) & set(config.awaited_targets)
    deadline = time.monotonic() + config.wait_s
    await_reports(store, release_id, datetime.now(UTC) + timedelta(seconds=config.wait_s))
    while True:
        reports, refused = read_reports(store, release_id)
        measured = [report.target for report in reports if report.summary is not None]
        missing = targets.difference(measured)
        if (not missing and len(measured) >= config.min_reports) or time.monotonic() >= deadline:
            break
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
    for report in refused:
        get_run_logger().warning("refused report %s: %s", shown(report.key), shown(report.reason))
    if missing:
        get_run_logger().warning("no measured report yet for %s", ", ".join(sorted(missing)))
    return reports
