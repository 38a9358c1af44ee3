"""`modnet optimize`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.settings import Settings
from modnet.checkpoint import read_checkpoint
from modnet.configs import ExportConfig
from modnet.errors import ConfigError, ExportError, ParityError
from modnet.evaluation.selection import refused_by_runtimes
from modnet.export.accuracy_control import AccuracyBound, calibration_inputs
from modnet.export.graph_file import described, fixed_shape, read_onnx
from modnet.export.legacy_runtimes import verify_on_legacy
from modnet.export.onnx_to_openvino import IrFiles, QuantisationAwareTraining, convert_ir
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.parity import TOLERANCES, check_parity
from modnet.graph_function import TorchGraph
from modnet.targets import VARIANTS, Shape, Target
from modnet.workload import Workload
from modnet.workloads import workload_named
from tasks.cli.exit_codes import UsageError
from tasks.cli.fields import flag_of, given_config, typed
from tasks.cli.flags import Options, Result, require_free
from tasks.cli.given import given_data, given_shape
from tasks.cli.verbs import INT8_FIELDS

_OF_INT8 = ("dataset", *(flag_of(ExportConfig, name) for name in INT8_FIELDS), "checkpoint", "prune_info")


def optimize(options: Options) -> Result:
    """Writes OpenVINO IRs of an ONNX file. The fit split calibrates INT8, the tune split bounds its error."""
    _require_flags_that_fit(options)
    require_free(options, *(options.out / f"{options.onnx.stem}-{target}.xml" for target in options.targets))
    model = read_onnx(options.onnx)
    shape, said = given_shape(options.onnx, fixed_shape(model), options.size), described(model)
    workload = workload_named(said.workload)
    config: ExportConfig = given_config(ExportConfig, options, targets=tuple(options.targets))
    calibration, bound, training = None, None, None
    if _has_int8(options):
        data = workload.checked(given_data(workload, options.dataset), said.output_names)
        calibration = calibration_inputs(data, shape, config)
        if config.quantisation_aware_steps:
            network = read_checkpoint(options.checkpoint, workload, options.prune_info).network
            _require_same_network(TorchGraph(network), options, calibration[0])
            training = QuantisationAwareTraining(network, config.quantisation_aware_steps)
        float_error = data.scores(OpenvinoGraph(options.onnx), "tune", [shape]).error
        bound = AccuracyBound.on_tune(data, shape, float_error, config)
    files = convert_ir(
        *(options.onnx, options.out),
        targets=options.targets,
        calibration=calibration,
        bound=bound,
        training=training,
        size=shape,
        input_format=config.input_format,
    )
    result: Result = {target: str(ir.xml) for target, ir in files.items()}
    for target, ir in files.items():
        if ir.decision is not None:
            result[f"{target} accuracy"] = ir.decision.model_dump() if options.json else ir.decision.verdict
    return result | _asked_old_runtimes(workload, options, files, shape) if config.verify_on_legacy else result


def _has_int8(options: Options) -> bool:
    return any(VARIANTS[target].precision == "int8" for target in options.targets)


def _require_flags_that_fit(options: Options) -> None:
    if not _has_int8(options):
        if idle := [name for name in _OF_INT8 if getattr(options, name) is not None]:
            raise UsageError(f"{typed(*idle)} would do nothing: none of {','.join(options.targets)} is in 8 bits")
    elif options.dataset is None:
        raise UsageError("INT8 is calibrated on images: say which with --dataset, or leave cpu-int8 out of --targets")
    if (options.checkpoint is not None) != bool(options.quantisation_aware_steps):
        raise UsageError("--quantisation-aware-steps trains the weights of --checkpoint: give both or neither")
    if options.prune_info is not None and options.checkpoint is None:
        raise UsageError("--prune-info would do nothing: it goes with --checkpoint")


def _require_same_network(network: TorchGraph, options: Options, image: NDArray[np.float32]) -> None:
    try:
        tolerance = TOLERANCES["fp32"]._replace(maximum=math.inf)
        names = (f"--checkpoint {options.checkpoint}", f"--onnx {options.onnx}")
        check_parity(network, OpenvinoGraph(options.onnx), [image], tolerance, names)
    except ParityError as error:
        raise ConfigError(f"--checkpoint is another network than --onnx is of: {error}") from error


def _asked_old_runtimes(
    workload: Workload[Any], options: Options, files: Mapping[Target, IrFiles], shape: Shape
) -> Result:
    """What old runtimes say of each IR that is for them, on one of the golden images and against the ONNX file."""
    if workload.golden is None:
        raise ConfigError(f"--verify-on-legacy: workload {workload.name!r} has no golden images to compare on")
    images = [workload.golden(shape)[:1]]
    reference, folder = OpenvinoGraph(options.onnx), Settings.from_env().legacy_folder
    checks = {
        target: verify_on_legacy(ir.xml, VARIANTS[target], reference, images, folder) for target, ir in files.items()
    }
    if refused := refused_by_runtimes(checks):
        reasons = "; ".join(f"{target} is refused by {words}" for target, words in refused.items())
        raise ExportError(f"{reasons}; the IRs are left in {options.out} to be looked at")
    said = {f"{target}, {one.by}": one for target, asked in checks.items() for one in asked}
    return {name: f"{one.status}: {one.words}" if one.words else one.status for name, one in said.items()}
