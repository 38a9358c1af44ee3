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
from tasks.decisions import Kind, record_decision
from tasks.on_ray import recalled_or_computed
from tasks.published import publish_network
from tasks.remote import latency
from tasks.retries import RETRIES, is_transient
from tasks.signed import this_publisher, this_trust
from tasks.stored import get_record, this_store
from tasks.stored_network import challenge_key, export_key, shaped, stored_network
from tasks.telling import tell_new_champion
from tasks.timeline import this_stage


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


def is_transient_or_outrun(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Also where somebody else moved the pointer: the comparison was with another release, so look again."""
    return is_transient(task, run, state) or isinstance(state.result(raise_on_failure=False), ConflictError)


@task(task_run_name="promote {target}", retry_condition_fn=is_transient_or_outrun, **RETRIES)
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
    current = current_or_first(target, release_id, is_forced=is_forced)
    if isinstance(current, Promotion):
        return current
    if is_forced:
        reason = f"promoted as asked, without a comparison with release {current.release_id}"
    elif (why_not := why_not_now(target, current, release_id)) is not None:
        return decided("kept", target, release_id, current.release_id, why_not)
    else:
        challenge = challenged(target, current, network_id, config, compute)
        if challenge.objections:
            return decided("kept", target, release_id, current.release_id, challenge.verdict)
        reason = challenge.verdict
    promote(this_publisher(), target, release_id, instead_of=current.release_id, share=share, is_forced=is_forced)
    return decided("promoted", target, release_id, current.release_id, reason + first_to(share))


def current_or_first(target: Target, release_id: str, *, is_forced: bool = False) -> Pointer | Promotion:
    """What a target runs; where it runs nothing that anybody can read, or this release, what became of the release."""
    publisher = this_publisher()
    try:
        current = read_current(this_trust(), target)
    except NotStoredError:
        promote(publisher, target, release_id, instead_of=NOTHING)
        return decided("first", target, release_id, None, "it is the first release of this target")
    except (DigestMismatchError, ContractError) as error:
        promote(publisher, target, release_id, is_forced=is_forced)
        return decided("promoted", target, release_id, None, f"nobody can say what it ran before: {error}")
    if current.release_id != release_id:
        return current
    where = "" if current.share == 1 else f", on {percent(current.share)} of its devices"
    return told(target, release_id, release_id, f"the target runs it already{where}")


def first_to(share: float) -> str:
    """What is added to the reason of a promotion."""
    return "" if share == 1 else f"; {percent(share)} of its devices get it first"


def why_not_now(target: str, current: Pointer, release_id: str) -> str | None:
    """Why a run does not promote a release by itself; None where nothing is in its way."""
    if current.share < 1:
        since = f"since {current.moved_at}, and is not on all devices"
        return f"release {current.release_id} is on {percent(current.share)} of the devices {since}"
    publisher = this_publisher()
    stops = stops_of(publisher, target, release_id, manifest_of(publisher, release_id))
    return next(iter(stops.values()), None)


def challenged(
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


def decided(kind: Kind, target: Target, release_id: str, before: str | None, reason: str) -> Promotion:
    """The promotion, said in the run's log and kept as a decision; `kept` leaves what ran before."""
    running = before if kind == "kept" and before is not None else release_id
    words = f"release {release_id} takes {target}: {reason}" if running == release_id else reason
    by = f"the flow {this_stage() or 'deploy'}"
    tell_new_champion(record_decision(this_store(), kind, target, before=before, after=running, words=words, by=by))
    return told(target, release_id, running, reason)


def told(target: Target, deployed: str, running: str, reason: str) -> Promotion:
    """The promotion, said in the run's log."""
    get_run_logger().info("%s %s release %s: %s", target, "runs" if running == deployed else "keeps", running, reason)
    return Promotion(target=target, release_id=running, is_moved=running == deployed, reason=reason)
