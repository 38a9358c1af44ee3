"""One network's ONNX file and IRs, and what they compute."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.device.stores.object_store import ObjectStore
from modnet.configs import ExportConfig
from modnet.errors import AccuracyError, LoweringError, ParityError
from modnet.evaluation.selection import refused_by_runtimes, refused_targets
from modnet.export.accuracy_control import AccuracyBound
from modnet.export.export import export_network
from modnet.export.legacy_runtimes import verify_on_legacy
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.graph_function import TorchGraph
from modnet.network import Input
from modnet.records import ExportRecord, StoredFile
from modnet.targets import VARIANTS
from modnet.workload import LabelledData
from tasks.remote.node import Node
from tasks.stored import upload
from tasks.stored_network import stored_network

PARITY_IMAGES = 2


def export_stored(node: Node, network_id: str, config: ExportConfig, key: str) -> ExportRecord:
    """ONNX and OpenVINO IRs of a base or a retrained candidate, refused unless they compute the same.

    A network without a target that is not refused has a record as well, so that it is exported once.
    """
    began = time.monotonic()
    checkpoint, dataset_id = stored_network(node.store, network_id)
    network = node.checkpoint(checkpoint, dataset_id).network
    workload, data = node.workload(dataset_id), node.data(dataset_id)
    inputs = calibration_inputs(config, data)
    original = TorchGraph(network)
    torch_scores = data.scores(original, "tune", config.shape)
    common: dict[str, Any] = {
        "network_id": network_id,
        "input_format": config.input_format,
        "inputs": {one.name: _shape(one, config) for one in network.inputs},
        "protocol": torch_scores.protocol,
    }
    bound = AccuracyBound(
        len(data.names("tune")),
        lambda graph, position: data.error(graph, "tune", position, config.shape),
        torch_scores.error,
        config.max_relative_error_increase,
        config.max_float_layers,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "export"
        try:
            report = export_network(
                network,
                folder,
                targets=config.targets,
                bound=bound,
                quantisation_aware_steps=config.quantisation_aware_steps,
                **export_options(config, inputs),
            )
        except (LoweringError, ParityError, AccuracyError) as error:
            return ExportRecord(
                **common,
                files={},
                targets=(),
                refused=dict.fromkeys(config.targets, f"no target is left: {error}"),
                parity={},
                tune_error={"torch": torch_scores.error},
                int8=error.decision if isinstance(error, AccuracyError) else None,
                val={},
                legacy={},
                seconds=time.monotonic() - began,
            )
        irs = {target: folder / f"modnet-{target}.xml" for target in config.targets if target not in report.refused}
        graphs = {target: OpenvinoGraph(xml) for target, xml in irs.items()}
        tune_error = {"torch": torch_scores.error} | {
            target: data.scores(graph, "tune", config.shape).error for target, graph in graphs.items()
        }
        legacy = {
            target: verify_on_legacy(
                xml, VARIANTS[target], TorchGraph(network), inputs[:PARITY_IMAGES], node.settings.legacy_folder
            )
            for target, xml in irs.items()
            if config.verify_on_legacy and VARIANTS[target].legacy_runtimes
        }
        refused = report.refused | refused_targets(tune_error, config) | refused_by_runtimes(legacy)
        accepted = tuple(target for target in config.targets if target not in refused)
        released = {"torch": original} | {target: graphs[target] for target in accepted}
        val = {form: workload.overall(data.scores(graph, "val", config.shape)) for form, graph in released.items()}
        kept = [f"modnet-{target}.{ending}" for target in accepted for ending in ("xml", "bin")]
        files = uploaded(node.store, key, folder, ["modnet.onnx", *kept])
    return ExportRecord(
        **common,
        files=files,
        targets=accepted,
        refused=refused,
        parity={form: parity.mean_difference for form, parity in report.parity.items()},
        tune_error=tune_error,
        int8=report.int8,
        val=val,
        legacy=legacy,
        seconds=time.monotonic() - began,
    )


def export_options(config: ExportConfig, inputs: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """What every export of a network takes from the config, as keywords of `export_network`."""
    return {
        "size": config.shape,
        "input_format": config.input_format,
        "max_difference": config.max_output_difference,
        "calibration": inputs,
        "parity_images": inputs[:PARITY_IMAGES],
    }


def uploaded(store: ObjectStore, key: str, folder: Path, names: Iterable[str]) -> dict[str, StoredFile]:
    """Files of a local folder, put beside the record at `key`."""
    return {name: upload(store, f"{key.rpartition('/')[0]}/{name}", folder / name) for name in sorted(names)}


def _shape(read: Input, config: ExportConfig) -> tuple[int, ...]:
    """What the forms read of one input."""
    shape = config.shape
    return (1, *shape, read.channels) if config.input_format == "uint8-nhwc" else (1, read.channels, *shape)


def calibration_inputs(config: ExportConfig, data: LabelledData) -> list[NDArray[np.float32]]:
    """Network inputs of the first images of fit, float32 (1, C, H, W) in [-1, 1]."""
    count = min(config.calibration_images, len(data.names("fit")))
    return [data.pixels("fit", position, config.shape) for position in range(count)]
