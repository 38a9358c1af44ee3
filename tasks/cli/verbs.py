"""What people type after each verb. Nothing heavy is imported here: help shall come at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from modnet.configs import (
    ALL_METRICS,
    FEW_METRICS,
    SHEET_IMAGES,
    SHIPPED,
    SHIPPED_PRUNED,
    TRAIN,
    UNPRUNED,
    AdaptationConfig,
    DatasetConfig,
    DistillationConfig,
    ExportConfig,
    Metric,
    ResultKind,
    SensitivityConfig,
    WinnerLimits,
)
from modnet.targets import VARIANTS, InputFormat
from modnet.workloads.matting.weights import checkpoint_path
from tasks.cli import flags
from tasks.cli.amounts import amount
from tasks.cli.flags import Flags, add_fields, field_help
from tasks.cli.pruning_flags import add_channel_flags, add_pruning_flags
from tasks.cli.pruning_shorthand import FORMS, prunings

_OPEN_SIDE = f"side of the square input, where the file leaves it open (default: {flags.SIZE})"
DEFAULT_TARGETS = [target for target, variant in VARIANTS.items() if variant.is_static]


def fetch_dataset(verb: Flags) -> None:
    """Of `modnet dataset fetch`."""
    verb.add_argument("source", help="synthetic, ppm-100, a zip or a URL")
    verb.add_argument("--sha256", type=flags.digest, help="refuse an archive of another digest (default: take any)")


def train(verb: Flags) -> None:
    """Of `modnet train`."""
    _add_training(verb)
    flags.training(verb)
    verb.add_argument(
        "--backbone",
        type=Path,
        help="MobileNetV2 to start from, norms folded, .npz (default: random)",
    )


def retrain(verb: Flags) -> None:
    """Of `modnet retrain`."""
    flags.network(verb)
    _add_training(verb)
    flags.retraining(verb)
    features = field_help(DistillationConfig, "features")
    teacher = (
        "a network to learn from as well, usually the unpruned one; a warning says when it errs more than its student "
        "(default: none)"
    )
    verb.add_argument("--teacher", type=checkpoint_path, help=f"{teacher}: {flags.CHECKPOINT}")
    verb.add_argument("--unlabelled", type=Path, help="with --teacher: a folder of images without mattes")
    verb.add_argument("--distill-features", type=float, help=f"with --teacher. {features}")


def adapt(verb: Flags) -> None:
    """Of `modnet adapt`."""
    for add in (flags.network, flags.seed, flags.device, flags.out_checkpoint):
        add(verb)
    verb.add_argument("--images", type=Path, required=True, help="a folder of images, no mattes needed")
    fields = {"epochs": int, "batch_size": int, "image_size": int, "learning_rate": float, "max_unreadable": int}
    add_fields(verb, AdaptationConfig, **fields)


def prune(verb: Flags) -> None:
    """Of `modnet prune`."""
    for add in (flags.network, flags.out_folder, flags.device):
        add(verb)
    flags.retraining(verb, "how --iterations retrains")
    add_pruning_flags(verb)


def sensitivity(verb: Flags) -> None:
    """Of `modnet sensitivity`."""
    for add in (flags.network, flags.out_folder, flags.seed):
        add(verb)
    verb.add_argument("--dataset", help=f"measures on its tune split; required without --merge: {flags.DATASET}")
    verb.add_argument("--ratios", type=flags.numbers, help=field_help(SensitivityConfig, "ratios"))
    add_fields(verb, SensitivityConfig, images=int, short_side=int, allowed_loss=float, max_macs=amount)
    verb.add_argument(
        "--merge",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="sensitivities.jsonl of several runs; without them the network is measured",
    )
    add_channel_flags(verb)


def inspect(verb: Flags) -> None:
    """Of `modnet inspect`."""
    flags.network(verb)
    flags.size(verb)
    verb.add_argument(
        "--against",
        type=checkpoint_path,
        help="checkpoint that it was before pruning (default: the widths that a pruned checkpoint of this project "
        "remembers)",
    )
    verb.add_argument(
        "--picture", type=flags.file_to_write, help="PNG to draw the channels of every group into (default: none)"
    )
    verb.add_argument("--tensors", action="store_true", help="also the shape of every tensor (--json has them always)")
    flags.overwrite(verb)


def evaluate(verb: Flags) -> None:
    """Of `modnet evaluate`."""
    flags.network_or_ir(verb, "--onnx or --ir")
    flags.dataset(verb)
    flags.any_device(verb)
    verb.add_argument(
        "--split", choices=("val", "tune", "fit", "train"), default="val", help="images (default: %(default)s)"
    )
    verb.add_argument(
        "--metrics",
        type=_metrics,
        default=FEW_METRICS,
        help=f"all, or some of {','.join(ALL_METRICS)}; mse and mad are always measured (default: mse,mad)",
    )
    verb.add_argument(
        "--scores",
        type=flags.file_to_write,
        help="JSON file to write the errors of every image into (default: none)",
    )
    verb.add_argument("--compare", type=Path, help="such a file of another network, to compare with (default: none)")
    verb.add_argument(
        "--sheet",
        type=flags.file_to_write,
        help=f"PNG to draw the {SHEET_IMAGES} worst images into (default: none)",
    )
    flags.overwrite(verb)


def infer(verb: Flags) -> None:
    """Of `modnet infer`."""
    flags.network_or_ir(verb, SHIPPED)
    flags.any_device(verb)
    flags.out_folder(verb)
    verb.add_argument("--input", type=Path, required=True, help="an image, a folder of images, or a video")
    verb.add_argument(
        "--result",
        choices=get_args(ResultKind),
        default="alpha",
        help="the matte, the person with transparency, or the person on --background (default: alpha)",
    )
    verb.add_argument(
        "--background",
        help="of --result composite, not without it: a colour as '#00b140', or an image file",
    )


def export(verb: Flags) -> None:
    """Of `modnet export`."""
    flags.network(verb)
    flags.out_folder(verb)
    verb.add_argument("--size", type=int, help=f"side of the square input (default: {flags.SIZE})")
    verb.add_argument("--dynamic", action="store_true", help="batch, height and width stay open: not with --size")


def optimize(verb: Flags) -> None:
    """Of `modnet optimize`."""
    flags.out_folder(verb)
    verb.add_argument("--onnx", type=Path, required=True, help="what `modnet export` writes")
    verb.add_argument("--size", type=flags.positive, help=_OPEN_SIDE)
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
    rounding.add_argument(
        "--dataset",
        help=f"its fit split calibrates, its tune split judges; without an INT8 target none is needed: {flags.DATASET}",
    )
    add_fields(
        rounding,
        ExportConfig,
        calibration_images=int,
        max_relative_mse_increase=float,
        max_float_layers=int,
        quantisation_aware_steps=int,
    )
    rounding.add_argument(
        "--checkpoint",
        type=checkpoint_path,
        help="with --quantisation-aware-steps: the network that the ONNX file is of (default: none). "
        f"{flags.CHECKPOINT}",
    )
    flags.prune_info(rounding)


def benchmark(verb: Flags) -> None:
    """Of `modnet benchmark`."""
    verb.add_argument(
        "--ir", type=Path, nargs="+", required=True, help=f"{flags.IR}; others are compared with the first"
    )
    verb.add_argument("--device", default="cpu", help="OpenVINO's name of it (default: cpu)")
    verb.add_argument("--size", type=flags.positive, help=_OPEN_SIDE)
    verb.add_argument("--batch", type=flags.positives, default=[1], help="batch sizes, as 1,2,4 (default: 1)")
    verb.add_argument("--threads", type=flags.positive, help="inference threads (default: the runtime's choice)")
    verb.add_argument("--warm-up", type=flags.natural, default=5, help="runs before the timed ones (default: 5)")
    verb.add_argument("--repeats", type=flags.positive, default=50, help="timed runs of each row (default: 50)")
    verb.add_argument(
        "--picture", type=flags.file_to_write, help="PNG to draw speed and ratios by batch size into (default: none)"
    )
    flags.overwrite(verb)


def config(verb: Flags) -> None:
    """Of `modnet config`."""
    verb.add_argument(
        "--profile",
        choices=("demo", "standard"),
        default="demo",
        help="demo: minutes. standard: a night (default: demo)",
    )
    verb.add_argument("--dataset", help=f"synthetic, ppm-100, a zip or a URL (default: {DatasetConfig().source})")
    verb.add_argument(
        "--base",
        default=SHIPPED,
        help=f"the unpruned network: {SHIPPED} (the project's own), {TRAIN} (one trained in the run), or the path of "
        f"a checkpoint (default: {SHIPPED})",
    )
    verb.add_argument("--pruning", type=prunings, help=f"candidates; without it those of the profile: {FORMS}")
    verb.add_argument(
        "--start",
        help=f"what candidates are pruned from: {UNPRUNED}, {SHIPPED_PRUNED} (the small network that the project "
        f"brings along), or the path of another small network (default: {SHIPPED_PRUNED} in a demo without --base and "
        f"--pruning, else {UNPRUNED})",
    )
    verb.add_argument(
        "--max-mse-ratio",
        type=float,
        help="the fastest candidate wins among those whose tune MSE is at most so many times the unpruned network's "
        f"(default: {WinnerLimits().max_mse_ratio:g})",
    )


FLAGS: Mapping[str, Callable[[Flags], None]] = {
    "dataset fetch": fetch_dataset,
    "train": train,
    "retrain": retrain,
    "adapt": adapt,
    "prune": prune,
    "sensitivity": sensitivity,
    "inspect": inspect,
    "evaluate": evaluate,
    "infer": infer,
    "export": export,
    "optimize": optimize,
    "benchmark": benchmark,
    "config": config,
}
"""Verb → what adds its flags, all but `--json`."""


def _add_training(verb: Flags) -> None:
    for add in (flags.dataset, flags.seed, flags.device, flags.out_checkpoint):
        add(verb)
    verb.add_argument(
        "--workers", type=flags.natural, default=0, help="processes that compute samples (default: a thread)"
    )
    verb.add_argument(
        "--keep-epochs",
        action="store_true",
        help="keep a checkpoint of every epoch beside --out, as …-epoch-001: the averaged weights, which tune scores",
    )
    verb.add_argument(
        "--sparsity-norms",
        type=flags.texts,
        help="with --sparsity: norms that get a plot of their own beside that of all and that of the first, as "
        "backbone.last.norm,semantic.* (default: none)",
    )


def _metrics(text: str) -> tuple[Metric, ...]:
    chosen = ALL_METRICS if text == "all" else tuple(metric for metric in ALL_METRICS if metric in flags.texts(text))
    if text != "all" and (unknown := set(flags.texts(text)) - {*chosen}):
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted all, or some of {','.join(ALL_METRICS)}")
    return chosen


def _targets(text: str) -> list[str]:
    chosen = flags.texts(text)
    if unknown := set(chosen) - set(VARIANTS):
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted some of {','.join(VARIANTS)}")
    return chosen
