"""Tasks of the flow deploy."""

from typing import Any

from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun

from infra.device.documents.manifest import Manifest, TargetFiles, TurnedFiles
from infra.device.documents.pointer import Pointer
from infra.device.errors import ConflictError, NotStoredError
from infra.device.releases import promote, publish_release, read_current, read_manifest
from modnet.configs import ComputeConfig, ExportConfig
from modnet.errors import ExportError
from modnet.records import Challenge, ExportRecord, NetworkScores, Promotion
from modnet.targets import VARIANTS, Target
from modnet.workloads import USUAL_WORKLOAD
from tasks.on_ray import recalled_or_computed
from tasks.provenance import provenance_of
from tasks.remote import latency
from tasks.retries import RETRIES, is_transient
from tasks.stored import digest_of, get_record, this_store
from tasks.stored_dataset import read_dataset
from tasks.stored_network import challenge_key, export_key, scores_key, shaped, stored_network


@task(retry_condition_fn=is_transient, **RETRIES)
def targets_of(release_id: str) -> list[Target]:
    """The targets that a release has files for."""
    manifest = read_manifest(this_store(), release_id)
    return [target for target in VARIANTS if target in manifest.targets]


@task(task_run_name="publish {network_id}", retry_condition_fn=is_transient, **RETRIES)
def publish(network_id: str, config: ExportConfig, reason: str, licence: str | None = None) -> str:
    """Copies the export's files into a release, manifest last, and returns its id; same content, same release.

    Without a licence it is the project's own where nothing but the project's is in the network, else none.
    """
    store = this_store()
    config = shaped(store, network_id, config)
    scores = get_record(store, scores_key(store, network_id, config.shapes), NetworkScores)
    export = get_record(store, export_key(store, network_id, config), ExportRecord)
    if export.refusal is not None:
        raise ExportError(f"{network_id} cannot be released: {export.refusal}")
    ((input_name, shape),) = export.inputs.items()
    provenance = provenance_of(store, export, config, scores, reason)
    manifest = Manifest(
        workload=read_dataset(store, stored_network(store, network_id)[1]).workload or USUAL_WORKLOAD,
        network_id=network_id,
        targets={target: _target_files(target, export, input_name, shape) for target in export.targets},
        files={name: digest_of(file) for name, file in export.files.items()},
        scores={
            **{f"val_{name}": scores.val.errors[name] for name in export.val["torch"]},
            **{
                f"val_{name}_{target}": error for target in export.targets for name, error in export.val[target].items()
            },
        },
        provenance=provenance.model_dump(mode="json"),
        licence=licence or provenance.usual_licence,
    )
    if manifest.licence is None:
        get_run_logger().warning("the release states no licence: say it as release.licence in the run form")
    release_id = publish_release(store, manifest, {name: file.key for name, file in export.files.items()})
    get_run_logger().info("release %s of %s", release_id, network_id)
    return release_id


def _target_files(target: Target, export: ExportRecord, input_name: str, shape: tuple[int, ...]) -> TargetFiles:
    """The IR of a target, and that of the turned shape where the export made one."""
    xml, weights, *of_turned = export.ir_files(target)
    rows = 1 if export.input_format == "uint8-nhwc" else 2
    turned_shape = (*shape[:rows], shape[rows + 1], shape[rows], *shape[rows + 2 :])
    turned = TurnedFiles(of_turned[0], of_turned[1], turned_shape) if of_turned else None
    return TargetFiles(xml, weights, input_name, shape, VARIANTS[target].precision, turned)


def _is_transient_or_outrun(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Also where somebody else moved the pointer: the comparison was with another release, so look again."""
    return is_transient(task, run, state) or isinstance(state.result(raise_on_failure=False), ConflictError)


@task(task_run_name="promote {target}", retry_condition_fn=_is_transient_or_outrun, **RETRIES)
def move_pointer(
    target: Target, release_id: str, network_id: str, config: ExportConfig, compute: ComputeConfig, is_forced: bool
) -> Promotion:
    """Makes a release the current one of a target unless the one before is better; devices see it at once."""
    store = this_store()
    try:
        current = read_current(store, target)
    except NotStoredError:
        promote(store, target, release_id)
        return _told(target, release_id, release_id, "it is the first release of this target")
    if current.release_id == release_id:
        return _told(target, release_id, release_id, "the target runs it already")
    if is_forced:
        reason = f"promoted as asked, without a comparison with release {current.release_id}"
    else:
        challenge = _challenge(target, current, network_id, config, compute)
        if challenge.objections:
            return _told(target, release_id, current.release_id, challenge.verdict)
        reason = challenge.verdict
    promote(store, target, release_id, instead_of=current.release_id)
    return _told(target, release_id, release_id, reason)


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
