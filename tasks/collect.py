"""Tasks of the flow collect."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import get_run_logger, task

from infra.device.documents.checks import time_of
from infra.device.errors import ContractError, InfraError, NotStoredError
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore
from infra.fleet import collecting
from infra.fleet.findings import Running, read_running
from infra.fleet.rows import collected, read_state
from infra.ingest.devices import Device, DeviceRegistry
from infra.local_stack.environments import MARKER
from infra.publishing.rollouts import rollout_rows
from tasks.artifacts import create_link_artifact, create_table_artifact
from tasks.fleet_page import MAX_ROWS, Fleet, fleet_lead, fleet_page, fleet_tables
from tasks.metrics import write_metrics
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_trust
from tasks.stored import this_store
from tasks.telling import tell_silent_devices

PAGE = "fleet/fleet.html"
_SHOWN = "fleet/shown.txt"  # the etag of the rows that Prefect's tables show
_SHOWN_REFUSALS = 20  # in the log


@task(retry_condition_fn=is_transient, **RETRIES)
def collect_new() -> int:
    """Reads the reports that are new, puts aside what is none, and returns how many are new."""
    look = read_new()
    get_run_logger().info("%d new reports, %d in all", look.new_count, len(look.rows))
    return look.new_count


def read_new() -> collecting.Look:
    """What a look at the reports finds; what was put aside is in the run's log."""
    look, logger = collecting.collect(this_store()), get_run_logger()
    if look.damage is not None:
        logger.warning("all reports were read anew: %s", shown(look.damage))
    for refused, where in ((look.moved, "in quarantine/ now"), (look.left, "left where it is")):
        for one in refused[:_SHOWN_REFUSALS]:
            logger.warning("no report, %s: %s: %s", where, shown(one.key), shown(one.reason))
        if len(refused) > _SHOWN_REFUSALS:
            logger.warning("and %d more", len(refused) - _SHOWN_REFUSALS)
    return look


@task(retry_condition_fn=is_transient, **RETRIES)
def publish_fleet(slower_by: float, silent_after_h: float) -> str:
    """Writes the page of the fleet and returns its address; tables show the rows as well, when they are others.

    In a stack, figures for Prometheus are written as well.
    """
    store, devices = this_store(), _devices()
    running, states = _signed()
    revoked = {name for name, device in devices.items() if device.revoked_at is not None}
    fleet = Fleet(
        rows=[row for row in collected(store) if row.device not in revoked],
        running=running,
        states=states,
        enrolled={name: time_of(device.added_at) for name, device in devices.items() if name not in revoked},
        quarantined_count=len(store.list(f"{collecting.QUARANTINE}{collecting.FOLDER}")),
        now=datetime.now(UTC),
        slower_by=slower_by,
        silent_after=timedelta(hours=silent_after_h),
    )
    store.put(PAGE, fleet_page(fleet))
    etag = read_state(store).etag or ""
    if _shown_etag(store) != etag:
        for title, rows in fleet_tables(fleet).items():
            key = f"fleet-{title.lower().replace(' ', '-')}"
            create_table_artifact(rows[:MAX_ROWS], key=key, description=f"{title}. {fleet_lead(fleet)}.")
        store.put(_SHOWN, etag.encode())
    write_metrics(fleet, store)
    tell_silent_devices(store, fleet.silent())
    address = store.link(PAGE)
    create_link_artifact(address, key="fleet", link_text="Page of the fleet", description=PAGE)
    return address


def _shown_etag(store: ObjectStore) -> str:
    """Of the rows that tables have shown last; several flows may have read reports since then."""
    try:
        return store.get(_SHOWN, max_bytes=1000).decode(errors="replace")
    except (NotStoredError, ContractError):
        return ""


def _signed() -> tuple[Running, dict[str, str]]:
    """What devices run, and the state of each target; nothing where nobody has signed anything, or it is unreadable."""
    try:
        trust = this_trust()
        return read_running(trust), {row.target: row.state for row in rollout_rows(trust)}
    except InfraError as error:
        get_run_logger().warning("what devices run is not known: %s", shown(error))
        return Running({}, {}), {}


def _devices() -> dict[str, Device]:
    """Devices that have keys, where the registry of this machine's stack can be read."""
    if (folder := os.environ.get(MARKER)) is None:
        return {}
    try:
        return dict(DeviceRegistry(Path(folder) / "devices.json").devices())
    except (InfraError, OSError) as error:
        get_run_logger().warning("which devices have keys is not known: %s", shown(error))
        return {}
