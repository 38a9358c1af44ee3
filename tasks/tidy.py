"""Task of the flow tidy."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import get_run_logger, task

from infra import cache
from infra.device.errors import ConflictError
from infra.device.stores.object_store import ObjectStore
from infra.local_stack.environments import MARKER
from infra.local_stack.logs import shorten_logs
from infra.local_stack.saved_report import remove_old_reports
from infra.ray_folder import ray_folder, remove_old_sessions
from infra.settings import Settings
from tasks.artifacts import create_table_artifact
from tasks.configs.tidy import TidyConfig
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_publisher
from tasks.tidying import fates, freed, remove, rows

NOTICE = timedelta(days=7)
"""How long before its first removals the flow says what they will be."""
_ANNOUNCED = "tidy/announced"


@task(retry_condition_fn=is_transient, **RETRIES)
def tidy_store(config: TidyConfig) -> str:
    """Removes from the store what nothing needs any more, and shows it as a table; returns what went in one phrase."""
    publisher, now = this_publisher(), datetime.now(UTC)
    sizes, chosen = publisher.store.sizes(""), fates(publisher, now, config)
    begins = now if config.dry_run else _announced(publisher.store, now) + NOTICE
    is_real = not config.dry_run and begins <= now
    table = rows(sizes, remove(publisher.store, chosen) if is_real else chosen)
    note = f"removed: {freed(table)}" if is_real else f"would go: {freed(table)}"
    if begins > now:
        note += f"; the first removals are on {begins:%Y-%m-%d}, stop the schedule of this flow if you keep all"
    create_table_artifact(table, key="tidy", description=note)
    get_run_logger().info("%s", note)
    return note


@task
def tidy_machine(config: TidyConfig) -> list[str]:
    """Removes what is old on this machine: of the cache, of Rays of before, of logs and pages of the services."""
    age, settings = timedelta(days=config.keep_days), Settings.from_env()
    is_real = not config.dry_run
    gone = cache.bound(settings.cache_folder, max_age=age, remove=is_real)
    gone += remove_old_sessions(ray_folder(), age, remove=is_real)
    if stack := os.environ.get(MARKER):
        gone += shorten_logs(Path(stack) / "log", age, remove=is_real)
        gone += remove_old_reports(Path(stack) / "reports", config.keep_runs, age, remove=is_real)
    get_run_logger().info(
        "%s on this machine: %s", "would go" if config.dry_run else "gone", ", ".join(map(str, gone)) or "-"
    )
    return [str(one) for one in gone]


def _announced(store: ObjectStore, now: datetime) -> datetime:
    """When the flow has first said what it would remove from this store; now, where it says so for the first time."""
    try:
        store.put(_ANNOUNCED, b"", if_absent=True)
    except ConflictError:
        return store.written(_ANNOUNCED).get(_ANNOUNCED, now)
    return now
