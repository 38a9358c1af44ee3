"""Tasks of the flows promote, roll-back, retire, retain and renew."""

from datetime import UTC, datetime, timedelta

from prefect import get_run_logger, task

from infra.device.releases import read_manifest
from infra.publishing import releases
from modnet.errors import ConfigError
from modnet.targets import VARIANTS, Target
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_publisher, this_trust

_ROOT_NEARS_ITS_END = timedelta(days=60)


@task(task_run_name="promote {release_id}", retry_condition_fn=is_transient, **RETRIES)
def promote_release(release_id: str, targets: list[Target]) -> list[Target]:
    """Makes targets run a release, and returns them."""
    manifest = read_manifest(this_trust(), release_id)
    wanted = targets or [target for target in VARIANTS if target in manifest.targets]
    for target in wanted:
        pointer = releases.promote(this_publisher(), target, release_id)
        get_run_logger().info("%s runs release %s, before %s", target, release_id, pointer.replaces or "none")
    return wanted


@task(task_run_name="what {target} ran before", retry_condition_fn=is_transient, **RETRIES)
def release_before(target: Target) -> tuple[str, str]:
    """What a target runs, and what it ran before: decided once, as every roll-back turns the two around."""
    return releases.before_of(this_publisher(), target)


@task(task_run_name="roll back {target} to {before}", retry_condition_fn=is_transient, **RETRIES)
def roll_back_target(target: Target, current: str, before: str) -> None:
    """Makes a target run what it ran before."""
    releases.promote(this_publisher(), target, before, instead_of=current)
    get_run_logger().info("%s runs release %s again, instead of %s", target, before, current)


@task(task_run_name="retire {release_id}", retry_condition_fn=is_transient, **RETRIES)
def retire_release(release_id: str) -> None:
    """Removes a release that nothing needs."""
    releases.retire(this_publisher(), release_id)


@task(retry_condition_fn=is_transient, **RETRIES)
def retain_releases(last: int) -> list[str]:
    """Removes the oldest releases that nothing needs, and what killed publications have left."""
    if last < 1:
        raise ConfigError(f"last: got {last}, wanted at least 1")
    publisher = this_publisher()
    retired, swept = releases.retain(publisher, last), releases.sweep(publisher)
    get_run_logger().info("retired %s; swept %s", ", ".join(retired) or "none", ", ".join(swept) or "none")
    return retired


@task(retry_condition_fn=is_transient, **RETRIES)
def renew_signatures() -> datetime:
    """Signs the timestamp anew and returns until when it counts; warns where the root nears its end.

    What killed publications have left a day ago is removed as well.
    """
    publisher = this_publisher()
    publisher.renew()
    if swept := releases.sweep(publisher):
        get_run_logger().info("removed what killed publications left: %s", ", ".join(swept))
    root_until = publisher.keys.root.signed.expires
    if root_until - datetime.now(UTC) < _ROOT_NEARS_ITS_END:
        get_run_logger().warning("the root counts until %s: sign it anew by `modnet keys sign`", root_until.date())
    until = publisher.timestamp().expires
    get_run_logger().info("signed until %s", until)
    return until
