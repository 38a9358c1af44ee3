"""What people type after the verbs that need no extra of the installation: as `tasks.cli.verbs`, for `Verb.bare`.

These work at once, so neither pydantic nor anything that computes is imported here.
"""

import argparse
from argparse import ArgumentParser
from pathlib import Path
from typing import get_args

from modnet.shipped import FRONT, USUAL
from modnet.workloads.matting.names import ALL_METRICS, FEW_METRICS, SHEET_IMAGES, Metric, ResultKind
from tasks.cli import flags, values
from tasks.cli.add_flag import add_flag


def evaluate(verb: ArgumentParser) -> None:
    """Of `modnet evaluate`."""
    flags.network_or_ir(verb, "--onnx or --ir")
    flags.dataset(verb)
    flags.any_device(verb)
    add_flag(verb, "--split", "The images to score.", choices=("val", "tune", "fit", "train"), default="val")
    says = f"all, or a list of {','.join(ALL_METRICS)}. mse and mad are always measured."
    add_flag(verb, "--metrics", says, type=_metrics, default=FEW_METRICS)
    add_flag(verb, "--scores", "JSON file to write: the errors of every image.", type=values.file_to_write)
    add_flag(verb, "--compare", "Compares with another network, by the file that --scores wrote of it.", type=Path)
    flags.out_picture(verb, "--sheet", f"the {SHEET_IMAGES} worst images.")
    flags.overwrite(verb)


def infer(verb: ArgumentParser) -> None:
    """Of `modnet infer`."""
    verb.add_argument("photo", nargs="?", type=Path, help="the photograph (or a folder or video, with --out)")
    add_flag(verb, "--input", "The same as a flag: an image, a folder of images, or a video.", type=Path)
    says = "A network that the project ships: the fastest, the one between, or the one that errs least."
    add_flag(verb, "--model", says, choices=FRONT, without=USUAL)
    flags.network_or_ir(verb, f"--model {USUAL}")
    flags.any_device(verb)
    says = "Folder to write into."
    add_flag(verb, "--out", says, type=values.folder_to_write, without="beside the photograph, as <name>.cutout.png")
    flags.overwrite(verb)
    says = "The matte, the person with transparency, or the person on --background."
    usual = "foreground beside the photograph, alpha with --out"
    add_flag(verb, "--result", says, choices=get_args(ResultKind), without=usual)
    add_flag(verb, "--background", "With --result composite alone: a colour as '#00b140', or an image file.")


def benchmark(verb: ArgumentParser) -> None:
    """Of `modnet benchmark`."""
    says = f"{flags.IR}. Others are compared with the first."
    add_flag(verb, "--ir", says, type=Path, nargs="+", without="needed, or --shipped")
    says = "Measures all networks that the project ships, as each IR and in both directions of the picture."
    add_flag(verb, "--shipped", says, action="store_true")
    add_flag(verb, "--device", "OpenVINO's name of the device.", default="cpu")
    flags.open_side(verb)
    says = "A list of batch sizes, as 1,2,4."
    add_flag(verb, "--batch", says, type=values.batch_sizes, limits="each from 1", default=[1])
    add_flag(verb, "--threads", "Inference threads.", type=values.Whole(1), without="the runtime's choice")
    add_flag(verb, "--warm-up", "Runs before the timed ones.", type=values.Whole(0), default=5)
    add_flag(verb, "--repeats", "Timed runs of each row.", type=values.Whole(1), default=50)
    flags.out_picture(verb, "--picture", "speed and ratios by batch size.")
    flags.overwrite(verb)


def list_reports(verb: ArgumentParser) -> None:
    """Of `modnet device reports`; the store is that of MODNET_STORE."""
    add_flag(verb, "--device", "Its reports alone.", without="all devices")
    add_flag(verb, "--target", "Reports on this target alone.", without="all targets")
    add_flag(verb, "--release", "Reports on this release alone.", without="all releases")
    says = "The newest reports to show."
    add_flag(verb, "--last", says, type=values.Whole(1), default=100)


def show_history(_: ArgumentParser) -> None:
    """Of `modnet history`, which shows all of the store of MODNET_STORE."""


def support_bundle(verb: ArgumentParser) -> None:
    """Of `modnet support-bundle`."""
    add_flag(verb, "--out", "Zip to write.", type=values.file_to_write, without="modnet-support-<time>.zip here")
    add_flag(verb, "--stack", "Folder of the services of `make up`.", type=Path, default=Path(".modnet"))
    flags.overwrite(verb)


def _metrics(text: str) -> tuple[Metric, ...]:
    chosen = values.texts(text)
    if text != "all" and (unknown := set(chosen) - {*ALL_METRICS}):
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted all, or some of {','.join(ALL_METRICS)}")
    return tuple(metric for metric in ALL_METRICS if text == "all" or metric in chosen)
