"""`modnet export`, and the flags of `modnet optimize` and `modnet benchmark`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from modnet.checkpoint import checkpoint_path, load
from modnet.configs import ExportConfig
from modnet.export.torch_to_onnx import export_onnx
from modnet.export.variants import VARIANTS, InputFormat
from tasks.cli import flags
from tasks.cli.benchmark import benchmark
from tasks.cli.flags import Flags, Options, Result, Verbs
from tasks.cli.optimize import optimize

DEFAULT_TARGETS = [target for target, variant in VARIANTS.items() if variant.is_static]
OPEN_SIDE = "side of the square input, where the file leaves it open (default: 512)"


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    exporting = verbs.add("export", export, flags.network(), flags.out_folder(), flags.size())
    exporting.add_argument("--dynamic", action="store_true", help="batch, height and width stay open")
    _optimize_flags(verbs.add("optimize", optimize, flags.out_folder()))
    _benchmark_flags(verbs.add("benchmark", benchmark))


def _optimize_flags(verb: Flags) -> None:
    fields = ExportConfig.model_fields
    verb.add_argument("--onnx", type=Path, required=True, help="as `modnet export` writes it")
    verb.add_argument("--size", type=flags.positive, help=OPEN_SIDE)
    verb.add_argument(
        "--targets", type=_targets, default=DEFAULT_TARGETS, help=f"some of {','.join(VARIANTS)} (default: all static)"
    )
    verb.add_argument(
        "--input-format",
        choices=get_args(InputFormat),
        default="float-nchw",
        help="what the IRs read: uint8-nhwc is the image itself (default: float-nchw)",
    )
    verb.add_argument(
        "--verify-on-legacy",
        action="store_true",
        help="run and compile what is for old runtimes on these; `make legacy-runtimes` installs them",
    )
    rounding = verb.add_argument_group("INT8")
    rounding.add_argument("--dataset", help=f"its fit split calibrates, its tune split judges: {flags.DATASET}")
    for name, kind, says in (
        ("calibration_images", int, "images of fit that calibrate"),
        (
            "max_relative_mse_increase",
            float,
            "tune MSE may exceed the ONNX file's by this share; layers go back to float until it holds",
        ),
        ("max_float_layers", int, "layers that may go back to float"),
        (
            "quantisation_aware_steps",
            int,
            "with --checkpoint: where that is not enough, training steps before the last attempt",
        ),
    ):
        rounding.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help=f"{says} (default: {fields[name].default})"
        )
    rounding.add_argument(
        "--checkpoint",
        type=checkpoint_path,
        help=f"with --quantisation-aware-steps: the network that the ONNX file is of. {flags.CHECKPOINT}",
    )
    rounding.add_argument("--prune-info", type=Path, help="the seed's JSON beside a pruned seed checkpoint")


def _benchmark_flags(verb: Flags) -> None:
    verb.add_argument(
        "--ir", type=Path, nargs="+", required=True, help=f"{flags.IR}; others are compared with the first"
    )
    verb.add_argument("--device", default="cpu", help="OpenVINO's name of it (default: cpu)")
    verb.add_argument("--size", type=flags.positive, help=OPEN_SIDE)
    verb.add_argument("--batch", type=flags.positives, default=[1], help="batch sizes, as 1,2,4 (default: 1)")
    verb.add_argument("--threads", type=flags.positive, help="inference threads (default: the runtime's choice)")
    verb.add_argument("--warm-up", type=flags.natural, default=5, help="runs before the samples (default: 5)")
    verb.add_argument("--repeats", type=flags.positive, default=50, help="samples of each row (default: 50)")
    verb.add_argument("--picture", type=flags.file_to_write, help="PNG to draw speed and ratios by batch size into")


def export(options: Options) -> Result:
    """Writes the deployed graph as ONNX."""
    options.out.mkdir(parents=True, exist_ok=True)
    network = load(options.checkpoint, options.prune_info)
    path = export_onnx(network, options.out / "model.onnx", size=options.size, dynamic=options.dynamic)
    return {"onnx": str(path), "size_bytes": path.stat().st_size}


def _targets(text: str) -> list[str]:
    chosen = flags.texts(text)
    if unknown := set(chosen) - set(VARIANTS):
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted some of {','.join(VARIANTS)}")
    return chosen
