"""Tasks of the flow deploy."""

from typing import Any

from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun

from infra.device.documents.pointer import Pointer
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import read_current, read_manifest
from infra.publishing.releases import NOTHING, manifest_of, promote
from infra.publishing.rollouts import percent
from infra.publishing.stops import stops_of
from modnet.configs import ComputeConfig, ExportConfig
from modnet.records import Challenge, ExportRecord, Promotion
from modnet.targets import VARIANTS, Target
from tasks.on_ray import recalled_or_computed
from tasks.published import publish_network
from tasks.remote import latency
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_publisher, this_trust
from tasks.stored import get_record, this_store
from tasks.stored_network import challenge_key, export_key, shaped, stored_network


@task(retry_condition_fn=is_transient, **RETRIES)
def targets_of(release_id: str) -> list[Target]:
    """The targets that a release has files for."""
    manifest = read_manifest(this_trust(), release_id)
    return [target for target in VARIANTS if target in manifest.targets]


@task(task_run_name="publish {network_id}", retry_condition_fn=is_transient, **RETRIES)
def publish(network_id: str, config: ExportConfig, reason: str, licence: str | None = None) -> str:
    """Makes a release of an exported network and returns its id, see `tasks.published`."""
    release_id, stated = publish_network(this_publisher(), network_id, config, reason, licence)
    if stated is None:
        get_run_logger().warning("the release states no licence: say it as release.licence in the run form")
    get_run_logger().info("release %s of %s", release_id, network_id)
    return release_id


def _is_transient_or_outrun(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Also where somebody else moved the pointer: the comparison was with another release, so look again."""
    return is_transient(task, run, state) or isinstance(state.result(raise_on_failure=False), ConflictError)


@task(task_run_name="promote {target}", retry_condition_fn=_is_transient_or_outrun, **RETRIES)
def move_pointer(
    target: Target,
    release_id: str,
    network_id: str,
    config: ExportConfig,
    compute: ComputeConfig,
    is_forced: bool,
    share: float = 1.0,
) -> Promotion:
    """Makes a release the current one of a target unless the one before is better; devices see it at once.

    The first release goes to all devices, whatever the share. A rollout under way is not interrupted, and a release
    that was stopped is not promoted again, unless forced.
    """
    publisher = this_publisher()
    try:
        current = read_current(this_trust(), target)
    except NotStoredError:
        promote(publisher, target, release_id, instead_of=NOTHING)
        return _told(target, release_id, release_id, "it is the first release of this target")
    except (DigestMismatchError, ContractError) as error:
        promote(publisher, target, release_id, is_forced=is_forced)
        return _told(target, release_id, release_id, f"nobody can say what it ran before: {error}")
    if current.release_id == release_id:
        where = "" if current.share == 1 else f", on {percent(current.share)} of its devices"
        return _told(target, release_id, release_id, f"the target runs it already{where}")
    if is_forced:
        reason = f"promoted as asked, without a comparison with release {current.release_id}"
    elif (why_not := _why_not_now(target, current, release_id)) is not None:
        return _told(target, release_id, current.release_id, why_not)
    else:
        challenge = _challenge(target, current, network_id, config, compute)
        if challenge.objections:
            return _told(target, release_id, current.release_id, challenge.verdict)
        reason = challenge.verdict
    promote(publisher, target, release_id, instead_of=current.release_id, share=share, is_forced=is_forced)
    first = "" if share == 1 else f"; {percent(share)} of its devices get it first"
    return _told(target, release_id, release_id, f"{reason}{first}")


def _why_not_now(target: Target, current: Pointer, release_id: str) -> str | None:
    """Why a run does not promote a release by itself; None where nothing is in its way."""
    if current.share < 1:
        since = f"since {current.moved_at}, and is not on all devices"
        return f"release {current.release_id} is on {percent(current.share)} of the devices {since}"
    publisher = this_publisher()
    stops = stops_of(publisher, target, release_id, manifest_of(publisher, release_id))
    return next(iter(stops.values()), None)


def _challenge(
    target: Target, current: Pointer, network_id: str, config: ExportConfig, compute: ComputeConfig
) -> Challenge:
    """The new network's IR against the current release's, on Ray."""
    store = this_store()
    exported_at = export_key(store, network_id, shaped(store, network_id, config))
    export = get_record(store, exported_at, ExportRecord)
    key = challenge_key(target, current, export, stored_network(store, network_id)[1], compute.base_cpus)
    return recalled_or_computed(
        key,
        Challenge,
        latency.challenge_current,
        *(target, current.release_id, current.manifest_sha256, network_id, exported_at),
        cpus=compute.base_cpus,
        compute=compute,
        name=f"compare with {current.release_id}",
    )


def _told(target: Target, deployed: str, running: str, reason: str) -> Promotion:
    """The promotion, said in the run's log."""
    get_run_logger().info("%s %s release %s: %s", target, "runs" if running == deployed else "keeps", running, reason)
    return Promotion(target=target, release_id=running, is_moved=running == deployed, reason=reason)
