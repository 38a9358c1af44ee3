"""A release of an exported network: what its manifest says, and its publication."""

from __future__ import annotations

from infra.device.documents.manifest import Golden, Manifest, TargetFiles, TurnedFiles
from infra.publishing.releases import publish_release
from infra.publishing.repository import Publisher
from modnet.configs import ExportConfig
from modnet.errors import ExportError
from modnet.records import ExportRecord, NetworkScores
from modnet.targets import VARIANTS, Target
from modnet.workloads import USUAL_WORKLOAD
from tasks.provenance import provenance_of
from tasks.stored import digest_of, get_record
from tasks.stored_dataset import read_dataset
from tasks.stored_network import export_key, scores_key, shaped, stored_network


def publish_network(
    publisher: Publisher, network_id: str, config: ExportConfig, reason: str, licence: str | None = None
) -> tuple[str, str | None]:
    """Copies the export's files into a release and signs it; same content, same release.

    Args:
        publisher: of the store that the export is in.
        network_id: which was exported and scored.
        config: by which it was exported.
        reason: why it is released.
        licence: an SPDX expression; without one it is the project's own where nothing but the project's is in the
            network, else none.

    Returns:
        The release's id, and the licence that it states.

    Raises:
        ExportError: no form of the network may be released; says why.
        NotStoredError: it was not exported so, or not scored.
    """
    store = publisher.store
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
    sources = {name: file.key for name, file in export.files.items()}
    return publish_release(publisher, manifest, sources), manifest.licence


def _target_files(target: Target, export: ExportRecord, input_name: str, shape: tuple[int, ...]) -> TargetFiles:
    """The IR of a target, that of the turned shape and golden images where the export made them."""
    xml, weights, *of_turned = export.ir_files(target)
    rows = 1 if export.input_format == "uint8-nhwc" else 2
    turned_shape = (*shape[:rows], shape[rows + 1], shape[rows], *shape[rows + 2 :])
    turned = TurnedFiles(of_turned[0], of_turned[1], turned_shape) if of_turned else None
    of_golden = export.golden.get(target)
    golden = None if of_golden is None else Golden(of_golden.name, of_golden.tolerance)
    return TargetFiles(xml, weights, input_name, shape, VARIANTS[target].precision, turned, golden)
