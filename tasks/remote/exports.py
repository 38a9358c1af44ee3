"""One network's ONNX file and IRs, and what they compute."""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.device.stores.object_store import ObjectStore
from modnet.configs import ExportConfig
from modnet.configs.shape import shown
from modnet.errors import AccuracyError, LoweringError, ParityError
from modnet.evaluation.selection import refused_by_runtimes, refused_targets
from modnet.export import bill_of_materials
from modnet.export.accuracy_control import AccuracyBound, calibration_inputs
from modnet.export.export import export_network
from modnet.export.golden import (
    golden_images,
    rounded_to_bfloat16,
    tolerance,
    worst_difference,
    write_golden,
)
from modnet.export.legacy_runtimes import verify_on_legacy
from modnet.export.openvino_graph import OpenvinoGraph, ShapedGraphs
from modnet.graph_function import GraphFunction, Pixels, TorchGraph
from modnet.network import Input, PrunableNetwork
from modnet.records import ExportRecord, GoldenFile, LegacyCheck, QuantisationDecision, StoredFile
from modnet.records.export import STEMS
from modnet.targets import OPEN_SIDE, VARIANTS, Shape, Target
from tasks.remote.node import Node
from tasks.stored import upload
from tasks.stored_network import stored_network

PARITY_IMAGES = 2


def export_stored(node: Node, network_id: str, config: ExportConfig, key: str) -> ExportRecord:
    """ONNX and OpenVINO IRs of a base or a retrained candidate, refused unless they compute the same.

    A target whose IR of the turned shape is refused is refused as a whole. A network without a target that is not
    refused has a record as well, so that it is exported once.
    """
    began = time.monotonic()
    checkpoint, dataset_id = stored_network(node.store, network_id)
    network = node.checkpoint(checkpoint, dataset_id).network
    workload, data = node.workload(dataset_id), node.data(dataset_id)
    original = TorchGraph(network)
    torch_scores = data.scores(original, "tune", config.shapes)
    irs: dict[Target, list[Path]] = {}
    refused: dict[Target, str] = {}
    parity: dict[str, float] = {}
    decisions: list[QuantisationDecision | None] = []
    legacy: dict[Target, tuple[LegacyCheck, ...]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for stem, shape in zip(STEMS, config.shapes, strict=False):
            possible = [one for one in config.targets if shape == config.shape or VARIANTS[one].is_static]
            targets = [one for one in possible if one not in refused]
            if not targets:
                continue
            at = config.model_copy(update={"input_shape": shown(shape), "turned": False})
            inputs, folder = calibration_inputs(data, shape, at), Path(temporary) / stem
            # On all of tune for each shape: the images that fit the turned one may be few.
            is_only = at.shapes == config.shapes
            where = "" if is_only else f"the IR of {shown(shape)}: "
            float_error = torch_scores.error if is_only else data.scores(original, "tune", at.shapes).error
            try:
                report = export_network(
                    network,
                    folder,
                    stem=stem,
                    targets=targets,
                    bound=AccuracyBound.on_tune(data, shape, float_error, at),
                    quantisation_aware_steps=config.quantisation_aware_steps,
                    **export_options(at, inputs),
                )
            except (LoweringError, ParityError, AccuracyError) as error:
                refused |= dict.fromkeys(targets, f"{where}no target is left: {error}")
                decisions.append(error.decision if isinstance(error, AccuracyError) else None)
                continue
            refused |= {target: f"{where}{reason}" for target, reason in report.refused.items()}
            decisions.append(report.int8)
            parity |= {form: max(parity.get(form, 0), one.mean_difference) for form, one in report.parity.items()}
            for target in [one for one in targets if one not in report.refused]:
                xml = folder / f"{stem}-{target}.xml"
                irs.setdefault(target, []).append(xml)
                if config.verify_on_legacy and VARIANTS[target].legacy_runtimes:
                    images, installed = inputs[:PARITY_IMAGES], node.settings.legacy_folder
                    checks = verify_on_legacy(xml, VARIANTS[target], original, images, installed)
                    if shape != config.shape:
                        checks = tuple(one.model_copy(update={"by": f"{one.by}, turned"}) for one in checks)
                    legacy[target] = (*legacy.get(target, ()), *checks)
        left = [target for target in irs if target not in refused]
        graphs = {target: ShapedGraphs([OpenvinoGraph(xml) for xml in irs[target]]) for target in left}
        tune_error: dict[str, float] = {"torch": torch_scores.error}
        for target, graph in graphs.items():
            tune_error[target] = data.scores(graph, "tune", config.shapes).error
        verdicts = refused | refused_targets(tune_error, config) | refused_by_runtimes(legacy)
        accepted = tuple(target for target in config.targets if target not in verdicts)
        released = {"torch": original} | {target: graphs[target] for target in accepted} if graphs else {}
        val = {form: workload.overall(data.scores(graph, "val", config.shapes)) for form, graph in released.items()}
        xmls = [xml for target in accepted for xml in irs[target]]
        sbom = Path(temporary) / bill_of_materials.FILE_NAME
        sbom.write_bytes(bill_of_materials.bill_of_materials())
        always = [Path(temporary) / "modnet" / "modnet.onnx", sbom] if graphs else []
        accepted_graphs = {target: graphs[target] for target in accepted}
        golden = write_goldens(workload.golden, network, accepted_graphs, config, Path(temporary))
        of_golden = {Path(temporary) / one.name for one in golden.values()}
        paths = [*always, *of_golden, *xmls, *(xml.with_suffix(".bin") for xml in xmls)]
        files = uploaded(node.store, key, paths)
    return ExportRecord(
        network_id=network_id,
        files=files,
        input_format=config.input_format,
        inputs={one.name: _shape(one, config) for one in network.inputs},
        protocol=torch_scores.protocol,
        targets=accepted,
        refused=verdicts,
        parity=parity,
        tune_error=tune_error,
        int8=decisions[0],
        int8_turned=decisions[1] if len(decisions) > 1 else None,
        val=val,
        legacy=legacy,
        golden=golden,
        versions=bill_of_materials.versions(),
        seconds=time.monotonic() - began,
    )


def write_goldens(
    draw: Callable[[Shape], Pixels] | None,
    network: PrunableNetwork,
    graphs: Mapping[Target, GraphFunction],
    config: ExportConfig,
    folder: Path,
) -> dict[Target, GoldenFile]:
    """Writes golden images of the shapes that devices measure into a folder, and says how far each target may be off.

    One that leaves its size open is measured at OPEN_SIDE. The IR of a turned shape is not measured. A target has none
    where the workload draws none, one image is more than a device unpacks, or the form itself is off by about as much
    as outputs are large.
    """
    files: dict[Target, GoldenFile] = {}
    for name, shape in {"golden.npz": config.shape, "golden-open.npz": (OPEN_SIDE, OPEN_SIDE)}.items():
        targets = [target for target in graphs if VARIANTS[target].is_static == (name == "golden.npz")]
        if draw is None or not targets:
            continue
        images = golden_images(draw(shape), TorchGraph(network))
        if not len(images.pixels):
            continue
        write_golden(folder / name, images, config.input_format)
        in_bfloat16 = worst_difference(images, rounded_to_bfloat16(network))
        for target in targets:
            difference = worst_difference(images, graphs[target])
            allowed = tolerance(VARIANTS[target], difference, in_bfloat16, images.scale)
            if allowed < images.scale:
                files[target] = GoldenFile(name=name, tolerance=allowed, difference=difference)
    return files


def export_options(config: ExportConfig, inputs: Sequence[Pixels]) -> dict[str, Any]:
    """What every export of a network takes from the config, as keywords of `export_network`."""
    return {
        "size": config.shape,
        "input_format": config.input_format,
        "max_difference": config.max_output_difference,
        "calibration": inputs,
        "parity_images": inputs[:PARITY_IMAGES],
    }


def uploaded(store: ObjectStore, key: str, paths: Iterable[Path]) -> dict[str, StoredFile]:
    """Local files by their names, put beside the record at `key`."""
    folder = key.rpartition("/")[0]
    return {path.name: upload(store, f"{folder}/{path.name}", path) for path in sorted(paths)}


def _shape(read: Input, config: ExportConfig) -> tuple[int, ...]:
    shape = config.shape
    return (1, *shape, read.channels) if config.input_format == "uint8-nhwc" else (1, read.channels, *shape)
