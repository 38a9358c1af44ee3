"""`modnet optimize`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from infra.settings import Settings
from modnet.data.images import prepare, read_image
from modnet.data.protocols import Protocol, device_protocol
from modnet.data.synthetic import render_portrait
from modnet.errors import ConfigError, ExportError
from modnet.evaluation.evaluate import evaluate
from modnet.evaluation.selection import refused_by_runtimes
from modnet.export.accuracy_control import bound_on
from modnet.export.legacy_runtimes import verify_on_legacy
from modnet.export.onnx_to_openvino import IrFiles, convert_ir, input_side
from modnet.export.predictors import OnnxPredictor, OpenvinoMatte
from modnet.export.variants import VARIANTS, Target
from tasks.cli.flags import Options, Result
from tasks.cli.given import given_dataset, require_free


def optimize(options: Options) -> Result:
    """Writes OpenVINO IRs of an ONNX file; INT8 is calibrated on the data set's fit split and held to its tune MSE."""
    require_free(options, *(options.out / f"{options.onnx.stem}-{target}.xml" for target in options.targets))
    calibration, bound = None, None
    if any(VARIANTS[target].precision == "int8" for target in options.targets):
        if options.dataset is None:
            raise ConfigError(
                "INT8 is calibrated on images: say which with --dataset, or leave cpu-int8 out of --targets"
            )
        folder, index = given_dataset(options.dataset)
        pairs = index.split("fit")[: options.calibration_images]
        protocol = _letterbox(options)
        calibration = [prepare(read_image(folder / pair.image), protocol).pixels.numpy() for pair in pairs]
        float_scores = evaluate(OnnxPredictor(options.onnx, protocol), folder, index, "tune", protocol)
        bound = bound_on(
            *(folder, index.split("tune"), protocol),
            float_mse=float_scores.mse,
            max_relative_increase=options.max_relative_mse_increase,
            max_float_layers=options.max_float_layers,
        )
    files = convert_ir(
        options.onnx,
        options.out,
        targets=options.targets,
        calibration=calibration,
        bound=bound,
        size=options.size,
        input_format=options.input_format,
    )
    result: Result = {target: str(ir.xml) for target, ir in files.items()}
    for target, ir in files.items():
        if ir.decision is not None:
            result[f"{target} accuracy"] = ir.decision.model_dump() if options.json else ir.decision.verdict
    return result | _asked_old_runtimes(options, files) if options.verify_on_legacy else result


def _letterbox(options: Options) -> Protocol:
    """Of the size that the ONNX file, or else `--size`, fixes."""
    return device_protocol(input_side(options.onnx) or options.size)


def _asked_old_runtimes(options: Options, files: Mapping[Target, IrFiles]) -> Result:
    """What old runtimes say of each IR that is for them, on a drawn portrait and against the ONNX file.

    Raises:
        ExportError: one of them refuses an IR; with its words.
    """
    portrait, _ = render_portrait(np.random.default_rng(0))
    images, reference = [prepare(portrait, _letterbox(options)).pixels.numpy()], OpenvinoMatte(options.onnx)
    folder = Settings.from_env().legacy_folder
    checks = {
        target: verify_on_legacy(ir.xml, VARIANTS[target], reference, images, folder) for target, ir in files.items()
    }
    if refused := refused_by_runtimes(checks):
        reasons = "; ".join(f"{target} is refused by {words}" for target, words in refused.items())
        raise ExportError(f"{reasons}; the IRs are left in {options.out} to be looked at")
    return {
        f"{target}, {one.by}": f"{one.status}: {one.words}" if one.words else one.status
        for target, asked in checks.items()
        for one in asked
    }
