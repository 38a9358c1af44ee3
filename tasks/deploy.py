"""Tasks of the flow deploy."""

import tempfile
from pathlib import Path

from prefect import get_run_logger, task

from infra.manifest import Manifest, ReleaseFile, TargetFiles
from infra.object_store import open_store
from infra.releases import promote, publish_release
from infra.settings import Settings
from modnet.configs import ExportConfig
from modnet.errors import ExportError
from modnet.export.variants import VARIANTS
from modnet.records import ExportRecord, NetworkScores, ReleaseRecord
from tasks.retries import RETRIES, is_transient
from tasks.stored import fetch_to, get_record
from tasks.stored_network import export_key, scores_key


@task(task_run_name="publish {network_id}", retry_condition_fn=is_transient, **RETRIES)
def publish(network_id: str, config: ExportConfig) -> ReleaseRecord:
    """Stores the release, files first, manifest last; the same content is the same release."""
    settings = Settings.from_env()
    store = open_store(settings.store_url)
    scores = get_record(store, scores_key(store, network_id), NetworkScores)
    export = get_record(store, export_key(store, network_id, config, settings.legacy_folder), ExportRecord)
    if export.refusal is not None:
        raise ExportError(f"{network_id} cannot be released: {export.refusal}")
    with tempfile.TemporaryDirectory() as temporary:
        files = {name: Path(temporary) / name for name in export.files}
        for name, path in files.items():
            fetch_to(store, export.files[name], path)
        side = export.size
        shape = (1, side, side, 3) if export.input_format == "uint8-nhwc" else (1, 3, side, side)
        manifest = Manifest(
            model="modnet",
            candidate_id=network_id,
            targets={
                target: TargetFiles(
                    f"modnet-{target}.xml", f"modnet-{target}.bin", "input", shape, VARIANTS[target].precision
                )
                for target in export.targets
            },
            files=tuple(ReleaseFile.of(name, path) for name, path in sorted(files.items())),
            scores={
                "val_mse": scores.val.mse,
                "val_mad": scores.val.mad,
                **{f"val_mse_{target}": export.val[target].mse for target in export.targets},
                **{f"val_mad_{target}": export.val[target].mad for target in export.targets},
            },
            provenance={
                "scores_protocol": scores.val.protocol,
                "target_scores_protocol": f"device-{export.size}",
                "refused": export.refused,
                "legacy": {
                    target: [check.model_dump() for check in checks] for target, checks in export.legacy.items()
                },
                "parameters": scores.complexity.parameters,
                "macs": scores.complexity.macs,
            },
        )
        release_id = publish_release(store, manifest, files)
    get_run_logger().info("release %s of %s", release_id, network_id)
    return ReleaseRecord(release_id=release_id, targets=tuple(sorted(manifest.targets)))


@task(task_run_name="promote {target}", retry_condition_fn=is_transient, **RETRIES)
def move_pointer(target: str, release_id: str) -> None:
    """Makes a release the current one of a target; devices see it at once."""
    pointer = promote(open_store(Settings.from_env().store_url), target, release_id)
    get_run_logger().info("%s runs %s since %s", target, pointer.release_id, pointer.moved_at)
