"""Task of the flow benchmark."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from prefect import get_run_logger, task
from prefect.events.clients import PrefectEventSubscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.settings import PREFECT_API_URL

from infra.device.documents.latency_report import LatencyReport
from infra.device.releases import read_manifest
from infra.device.reports import counted_once, read_reports
from infra.device.shown import shown
from infra.ingest.events import REPORT_STORED, release_resource
from infra.publishing.marks import await_reports
from modnet.configs import BenchmarkConfig
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_trust
from tasks.stored import this_store

LOOK_EVERY_S = 30.0  # where no event comes: a store in a folder has no ingest, and an event may be lost


@task(task_run_name="reports of {release_id}", retry_condition_fn=is_transient, **RETRIES)
def collect_reports(release_id: str, config: BenchmarkConfig) -> list[LatencyReport]:
    """Waits for a measured report of every awaited target of the release, and for as many as the config wants.

    Or until the time is up; refused ones are in the log. The store is looked at whenever the ingest has stored a report
    of the release, and every LOOK_EVERY_S seconds.
    """
    store = this_store()
    targets = set(read_manifest(this_trust(), release_id).targets) & set(config.awaited_targets)
    deadline = time.monotonic() + config.wait_s
    await_reports(store, release_id, datetime.now(UTC) + timedelta(seconds=config.wait_s))
    with _told_of_reports(release_id) as told:
        while True:
            told.clear()
            found, refused = read_reports(store, release_id)
            reports = counted_once(found)
            measured = [report.target for report in reports if report.summary is not None]
            missing = targets.difference(measured)
            left_s = deadline - time.monotonic()
            if (not missing and len(measured) >= config.min_reports) or left_s <= 0:
                break
            told.wait(min(LOOK_EVERY_S, left_s))
    for report in refused:
        get_run_logger().warning("refused report %s: %s", shown(report.key), shown(report.reason))
    if missing:
        get_run_logger().warning("no measured report yet for %s", ", ".join(sorted(missing)))
    return reports


@contextmanager
def _told_of_reports(release_id: str) -> Iterator[threading.Event]:
    """Is set when the ingest has stored a report of the release, and once when it begins to be told of it."""
    told, logger, api_url = threading.Event(), get_run_logger(), PREFECT_API_URL.value()
    if api_url is None:
        yield told
        return

    async def listen() -> None:
        of_release = EventFilter(
            event=EventNameFilter(name=[REPORT_STORED]),
            resource=EventResourceFilter(id=[release_resource(release_id)]),
        )
        try:
            async with PrefectEventSubscriber(api_url, of_release, reconnect_on_clean_close=True) as stored:
                told.set()  # what came before may be told to nobody
                async for _ in stored:
                    told.set()
        except Exception as error:  # whatever Prefect's client raises, the store is still looked at
            logger.warning("reports are looked for every %g s, Prefect tells of none: %s", LOOK_EVERY_S, shown(error))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(listening)

    loop = asyncio.new_event_loop()
    listening = loop.create_task(listen())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        loop.call_soon_threadsafe(listening.cancel)
        thread.join()
        loop.close()
