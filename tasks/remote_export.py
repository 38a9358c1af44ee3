"""Export on Ray nodes: one network's ONNX file and IRs with what they compute, and latencies beside other networks.

As in `tasks.remote`, every function looks first whether its answer is in the store.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.settings import Settings
from modnet.configs import FEW_METRICS, ExportConfig
from modnet.errors import AccuracyError, LoweringError, ParityError
from modnet.evaluation.selection import refused_by_runtimes, refused_targets
from modnet.export.export import export_network
from modnet.export.legacy_runtimes import verify_on_legacy
from modnet.graph_function import TorchGraph
from modnet.protocols import device_protocol
from modnet.records import ExportRecord, LegacyCheck
from modnet.targets import VARIANTS, Target
from modnet.workloads.matting.accuracy_bound import bound_on
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.images import read_image
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from modnet.workloads.matting.predict.predictors import TorchPredictor
from tasks.remote import this_node
from tasks.stored import fetch, once, upload
from tasks.stored_dataset import open_dataset
from tasks.stored_network import stored_network

PARITY_IMAGES = 2


def export_stored(network_id: str, config: ExportConfig, key: str, cpus: int) -> ExportRecord:
    """ONNX and OpenVINO IRs of a base or a retrained candidate, refused unless they compute the same matte.

    A network without a target that is not refused has a record as well, so that it is exported once.
    """
    settings, store = this_node(cpus)
    checkpoint, dataset_id = stored_network(store, network_id)

    def compute() -> ExportRecord:
        began = time.monotonic()
        network = load(fetch(store, checkpoint, settings.cache_folder / "objects"))
        images, index = open_dataset(dataset_id, settings, store)
        inputs = calibration_inputs(config, images, index)
        protocol = device_protocol(config.size)
        original = TorchPredictor(network, protocol)
        torch_mse = evaluate(original, images, index, "tune", protocol).error
        bound = bound_on(
            *(images, index.split("tune"), protocol),
            float_mse=torch_mse,
            max_relative_increase=config.max_relative_mse_increase,
            max_float_layers=config.max_float_layers,
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "export"
            try:
                report = export_network(
                    network,
                    folder,
                    size=config.size,
                    targets=config.targets,
                    input_format=config.input_format,
                    max_difference=config.max_alpha_difference,
                    calibration=inputs,
                    bound=bound,
                    quantisation_aware_steps=config.quantisation_aware_steps,
                    parity_images=inputs[:PARITY_IMAGES],
                )
            except (LoweringError, ParityError, AccuracyError) as error:
                return ExportRecord(
                    network_id=network_id,
                    size=config.size,
                    files={},
                    input_format=config.input_format,
                    targets=(),
                    refused=dict.fromkeys(config.targets, f"no target is left: {error}"),
                    parity={},
                    tune_mse={"torch": torch_mse},
                    int8=error.decision if isinstance(error, AccuracyError) else None,
                    val={},
                    legacy={},
                    seconds=time.monotonic() - began,
                )
            written = [target for target in config.targets if target not in report.refused]
            predictors = {target: IrPredictor(folder / f"modnet-{target}.xml", protocol) for target in written}
            tune_mse = {"torch": torch_mse} | {
                target: evaluate(predictor, images, index, "tune", protocol).error
                for target, predictor in predictors.items()
            }
            asked = written if config.verify_on_legacy else []
            legacy = _legacy_checks(network, folder, asked, inputs[:PARITY_IMAGES], settings)
            refused = report.refused | refused_targets(tune_mse, config) | refused_by_runtimes(legacy)
            accepted = tuple(target for target in config.targets if target not in refused)
            released = {"torch": original} | {target: predictors[target] for target in accepted}
            val = {form: evaluate(predictor, images, index, "val", protocol) for form, predictor in released.items()}
            kept = {f"modnet-{target}.{ending}" for target in accepted for ending in ("xml", "bin")} | {"modnet.onnx"}
            files = {name: upload(store, f"{key.rpartition('/')[0]}/{name}", folder / name) for name in sorted(kept)}
        return ExportRecord(
            network_id=network_id,
            size=report.size,
            files=files,
            input_format=config.input_format,
            targets=accepted,
            refused=refused,
            parity={form: parity.mean_difference for form, parity in report.parity.items()},
            tune_mse=tune_mse,
            int8=report.int8,
            val={form: {name: one.errors[name] for name in FEW_METRICS} for form, one in val.items()},
            legacy=legacy,
            seconds=time.monotonic() - began,
        )

    return once(store, key, ExportRecord, compute)


def _legacy_checks(
    network: MODNet,
    folder: Path,
    targets: Sequence[Target],
    images: Sequence[NDArray[np.float32]],
    settings: Settings,
) -> dict[Target, tuple[LegacyCheck, ...]]:
    """What the old runtimes of each target that has some say of its IR."""
    checks: dict[Target, tuple[LegacyCheck, ...]] = {}
    for target in targets:
        if VARIANTS[target].legacy_runtimes:
            checks[target] = verify_on_legacy(
                folder / f"modnet-{target}.xml", VARIANTS[target], TorchGraph(network), images, settings.legacy_folder
            )
    return checks


def calibration_inputs(config: ExportConfig, images: Path, index: DatasetIndex) -> list[NDArray[np.float32]]:
    """Network inputs of the first images of fit, float32 (1, 3, size, size) in [-1, 1]."""
    fit = index.split("fit")[: config.calibration_images]
    protocol = device_protocol(config.size)
    return [prepare(read_image(images / pair.image), protocol).pixels for pair in fit]
