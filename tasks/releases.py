"""Tasks of the flows promote, rollout, roll-back, retire, retain and renew."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import get_run_logger, task

from infra.device.documents.pointer import Pointer
from infra.device.errors import ConflictError, InfraError
from infra.device.releases import read_manifest
from infra.device.reports import counted_once
from infra.device.shown import shown
from infra.fleet.rows import Collected
from infra.ingest.devices import DeviceRegistry
from infra.local_stack.environments import MARKER
from infra.publishing import releases, retiring, roll_backs
from infra.publishing.pointers import pinned_devices, rollouts
from infra.publishing.repository import Publisher
from infra.publishing.rollouts import Rules, Verdict, percent, verdict
from modnet.configs import RolloutConfig
from modnet.errors import ConfigError
from modnet.report.run_tables import Row
from modnet.targets import VARIANTS, Target
from tasks.artifacts import create_table_artifact
from tasks.collect import read_new
from tasks.decisions import record_decision, record_promotion, record_roll_back
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_publisher, this_trust
from tasks.stored import this_store
from tasks.telling import tell_new_champion

_ROOT_NEARS_ITS_END = timedelta(days=60)
_ROLLOUT = "the flow rollout"
_STEPS = {"stop": "stopped", "finish": "all devices get it", "wait": "it waits"}


@task(task_run_name="promote {release_id}", retry_condition_fn=is_transient, **RETRIES)
def promote_release(release_id: str, targets: list[Target], share: float, is_forced: bool) -> list[Target]:
    """Makes targets, or a share of their devices, run a release, and returns them."""
    manifest = read_manifest(this_trust(), release_id)
    wanted = targets or [target for target in VARIANTS if target in manifest.targets]
    for target in wanted:
        pointer = releases.promote(this_publisher(), target, release_id, share=share, is_forced=is_forced)
        tell_new_champion(record_promotion(this_store(), pointer))
        who = target if share == 1 else f"{percent(share)} of {target}"
        get_run_logger().info("%s runs release %s, before %s", who, release_id, pointer.replaces or "none")
    return wanted


@task(task_run_name="what {target} ran before", retry_condition_fn=is_transient, **RETRIES)
def release_before(target: Target) -> tuple[str, str]:
    """What a target runs, and what it ran before: decided once, as every roll-back turns the two around."""
    return roll_backs.before_of(this_publisher(), target)


@task(task_run_name="roll back {target} to {before}", retry_condition_fn=is_transient, **RETRIES)
def roll_back_target(target: Target, current: str, before: str) -> None:
    """Makes a target run what it ran before."""
    roll_backs.go_back(this_publisher(), target, current, before)
    tell_new_champion(record_roll_back(this_store(), target, current, before))
    get_run_logger().info("%s runs release %s again, instead of %s", target, before, current)


@task(retry_condition_fn=is_transient, **RETRIES)
def look_after_rollouts(config: RolloutConfig) -> list[Row]:
    """Gives releases that a share of the devices runs to all, stops them, or lets them wait; a row for each.

    One that cannot be looked after does not keep the others from it.

    Raises:
        InfraError: of the first that could not be looked after.
    """
    publisher, rows, problems = this_publisher(), [], []
    under_way = rollouts(publisher)
    reports = read_new().rows.values() if under_way else ()
    for pointer in under_way:
        log = get_run_logger().info
        try:
            decided = _step(publisher, pointer, [row for row in reports if row is not None], config)
        except InfraError as error:
            problems.append(error)
            decided, log = Verdict("wait", f"it could not be looked after: {error}"), get_run_logger().warning
        row = {
            "target": pointer.target,
            "release": pointer.release_id,
            "devices": percent(pointer.share),
            "before": pointer.replaces or "none",
            "what happens": _STEPS[decided.step],
            "why": decided.words,
        }
        rows.append(row)
        log = get_run_logger().warning if decided.step == "stop" else log
        log("%s: release %s on %s: %s: %s", *(shown(row[name]) for name in row if name != "before"))
    if rows:
        create_table_artifact(rows, key="rollouts", description="Releases that a share of the devices runs")
    if problems:
        raise problems[0]
    return rows


def _step(publisher: Publisher, pointer: Pointer, reports: Sequence[Collected], config: RolloutConfig) -> Verdict:
    """What becomes of one rollout, done."""
    target, release_id = pointer.target, pointer.release_id
    rows = [row for row in reports if row.release_id in (release_id, pointer.replaces)]
    rules = Rules(timedelta(hours=config.hold_hours), config.slower_limit, config.min_reports)
    without = pinned_devices(publisher, target) | revoked_devices()
    decided = verdict(pointer, counted_once(rows), without, rules, datetime.now(UTC))
    try:
        if decided.step == "stop":
            back = roll_backs.stop(publisher, target, release_id, decided.words, _ROLLOUT).release_id
            words = f"all devices of {target} run release {back} again: {decided.words}"
            tell_new_champion(
                record_decision(
                    this_store(), "stopped", target, before=release_id, after=back, words=words, by=_ROLLOUT
                )
            )
        elif decided.step == "finish":
            releases.promote(publisher, target, release_id, seen_at=pointer.moved_at)
            before, words = pointer.replaces, f"all devices of {target} get release {release_id}: {decided.words}"
            tell_new_champion(
                record_decision(
                    this_store(), "promoted", target, before=before, after=release_id, words=words, by=_ROLLOUT
                )
            )
    except ConflictError as error:
        return Verdict("wait", f"somebody else was first: {error}")
    return decided


def revoked_devices() -> set[str]:
    """Devices whose keys are worth nothing any more, where this machine's stack has a registry of them."""
    if (folder := os.environ.get(MARKER)) is None:
        return set()
    try:
        devices = DeviceRegistry(Path(folder) / "devices.json").devices()
    except InfraError as error:  # no reason to let a bad release go on
        get_run_logger().warning("reports of revoked devices count as well: %s", shown(error))
        return set()
    return {name for name, device in devices.items() if device.revoked_at is not None}


@task(task_run_name="retire {release_id}", retry_condition_fn=is_transient, **RETRIES)
def retire_release(release_id: str) -> None:
    """Removes a release that nothing needs."""
    retiring.retire(this_publisher(), release_id)


@task(retry_condition_fn=is_transient, **RETRIES)
def retain_releases(last: int) -> list[str]:
    """Removes the oldest releases that nothing needs, and what killed publications have left."""
    if last < 1:
        raise ConfigError(f"last: got {last}, wanted at least 1")
    publisher = this_publisher()
    retired, swept = retiring.retain(publisher, last), retiring.sweep(publisher)
    get_run_logger().info("retired %s; swept %s", ", ".join(retired) or "none", ", ".join(swept) or "none")
    return retired


@task(retry_condition_fn=is_transient, **RETRIES)
def renew_signatures() -> datetime:
    """Signs the timestamp anew and returns until when it counts; warns where the root nears its end.

    What killed publications have left a day ago is removed as well.
    """
    publisher = this_publisher()
    publisher.renew()
    if swept := retiring.sweep(publisher):
        get_run_logger().info("removed what killed publications left: %s", ", ".join(swept))
    root_until = publisher.keys.root.signed.expires
    if root_until - datetime.now(UTC) < _ROOT_NEARS_ITS_END:
        get_run_logger().warning("the root counts until %s: sign it anew by `modnet keys sign`", root_until.date())
    until = publisher.timestamp().expires
    get_run_logger().info("signed until %s", until)
    return until
