"""`modnet export`, `modnet optimize` and `modnet benchmark`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from infra.edge_agent.latency import measure
from infra.edge_agent.runtime import load_ir, runtime_text
from infra.reports import summarise
from infra.settings import Settings
from modnet.checkpoint import load
from modnet.configs import ExportConfig
from modnet.data.images import prepare, read_image
from modnet.data.protocols import Protocol, device_protocol
from modnet.data.synthetic import render_portrait
from modnet.errors import ConfigError, ExportError
from modnet.evaluation.evaluate import evaluate
from modnet.evaluation.selection import refused_by_runtimes
from modnet.export.accuracy_control import bound_on
from modnet.export.graph_file import fixed_side, read_onnx
from modnet.export.legacy_runtimes import verify_on_legacy
from modnet.export.onnx_to_openvino import IrFiles, convert_ir
from modnet.export.predictors import OnnxPredictor, OpenvinoMatte
from modnet.export.torch_to_onnx import export_onnx
from modnet.export.variants import VARIANTS, InputFormat, Target
from tasks.cli import flags
from tasks.cli.flags import Options, Result, Verbs
from tasks.cli.given import given_dataset
from tasks.leaderboard import markdown_table

DEFAULT_TARGETS = [target for target, variant in VARIANTS.items() if variant.is_static]


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    exporting = verbs.add("export", export, flags.network(), flags.out_folder(), flags.size())
    exporting.add_argument("--dynamic", action="store_true", help="batch, height and width stay open")
    optimizing = verbs.add("optimize", optimize, flags.out_folder(), flags.size())
    optimizing.add_argument("--onnx", type=Path, required=True)
    optimizing.add_argument("--dataset", help=f"calibrates INT8: {flags.DATASET}")
    optimizing.add_argument(
        "--targets", type=_targets, default=DEFAULT_TARGETS, help=f"some of {','.join(VARIANTS)} (default: all static)"
    )
    optimizing.add_argument(
        "--input-format",
        choices=get_args(InputFormat),
        default="float-nchw",
        help="what the IRs read: uint8-nhwc is the image itself (default: float-nchw)",
    )
    optimizing.add_argument(
        "--verify-on-legacy",
        action="store_true",
        help="run and compile what is for old runtimes on these; `make legacy-runtimes` installs them",
    )
    defaults = ExportConfig()
    optimizing.add_argument("--calibration-images", type=flags.positive, default=defaults.calibration_images)
    optimizing.add_argument(
        "--max-relative-mse-increase",
        type=float,
        default=defaults.max_relative_mse_increase,
        help="INT8 puts layers back to float until its tune MSE is within this share of the ONNX file's",
    )
    optimizing.add_argument("--max-float-layers", type=flags.natural, default=defaults.max_float_layers)
    measuring = verbs.add("benchmark", benchmark)
    measuring.add_argument("--ir", type=Path, required=True, help=flags.IR)
    measuring.add_argument("--device", default="cpu", help="OpenVINO's name of it (default: cpu)")
    measuring.add_argument("--size", type=flags.positive, default=512, help="side of an open input (default: 512)")
    measuring.add_argument("--batch", type=flags.positives, default=[1], help="batch sizes, as 1,2,4")
    measuring.add_argument("--threads", type=flags.positive, help="inference threads (default: the runtime's choice)")
    measuring.add_argument("--warm-up", type=flags.natural, default=5)
    measuring.add_argument("--repeats", type=flags.positive, default=50)


def export(options: Options) -> Result:
    """Writes the deployed graph as ONNX."""
    options.out.mkdir(parents=True, exist_ok=True)
    network = load(options.checkpoint, options.prune_info)
    path = export_onnx(network, options.out / "model.onnx", size=options.size, dynamic=options.dynamic)
    return {"onnx": str(path), "size_bytes": path.stat().st_size}


def optimize(options: Options) -> Result:
    """Writes OpenVINO IRs of an ONNX file; INT8 is calibrated on the data set's fit split and held to its tune MSE."""
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
    return device_protocol(fixed_side(read_onnx(options.onnx)) or options.size)


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


def benchmark(options: Options) -> Result:
    """Measures an IR on this machine with the edge agent's code, for each batch size."""
    rows = []
    for batch in options.batch:
        model = load_ir(
            options.ir,
            device=options.device.upper(),
            threads=options.threads,
            batch=batch,
            open_side=options.size,
        )
        samples = measure(model.run_once, warm_up=options.warm_up, repeats=options.repeats)
        summary = summarise(samples.samples_ms)
        rows.append(
            {
                "batch": str(batch),
                "p50 ms": f"{summary.p50_ms:.2f}",
                "p90 ms": f"{summary.p90_ms:.2f}",
                "p99 ms": f"{summary.p99_ms:.2f}",
                "images/s": f"{1000 * batch / summary.p50_ms:.2f}",
                "precision": str(model.precision),
            }
        )
    return {"runtime": runtime_text(), "rows": rows} if options.json else {"table": markdown_table(rows)}


def _targets(text: str) -> list[str]:
    chosen = flags.texts(text)
    if unknown := set(chosen) - set(VARIANTS):
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted some of {','.join(VARIANTS)}")
    return chosen
