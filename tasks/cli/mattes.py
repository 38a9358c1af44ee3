"""`modnet evaluate` and `modnet infer`."""

from __future__ import annotations

from pathlib import Path

from modnet.checkpoint import load
from modnet.data.images import read_image, write_matte
from modnet.errors import DatasetError
from modnet.evaluation.evaluate import evaluate as evaluate_predictor
from tasks.cli import flags
from tasks.cli.flags import Options, Result, Verbs
from tasks.cli.given import cost, given_dataset, given_predictor

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    evaluation = verbs.add("evaluate", evaluate, flags.network_or_ir(), flags.dataset(), flags.device())
    evaluation.add_argument("--split", choices=("val", "tune", "fit", "train"), default="val")
    inference = verbs.add("infer", infer, flags.network_or_ir(), flags.device(), flags.out_folder())
    inference.add_argument("--input", type=Path, required=True, help="an image, or a folder of images")


def evaluate(options: Options) -> Result:
    """Scores a checkpoint or an IR on one split."""
    folder, index = given_dataset(options.dataset)
    scores = evaluate_predictor(given_predictor(options), folder, index, options.split, options.protocol)
    result = {name: getattr(scores, name) for name in ("mse", "mad", "images", "split", "protocol")}
    return result | (cost(load(options.checkpoint, options.prune_info)) if options.checkpoint else {})


def infer(options: Options) -> Result:
    """Writes the matte of each image as PNG, at the image's size."""
    predictor = given_predictor(options)
    images = [options.input]
    if options.input.is_dir():
        images = sorted(path for path in options.input.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DatasetError(f"{options.input} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    stems = [path.stem for path in images]
    if len(set(stems)) < len(stems):
        raise DatasetError(f"{options.input} holds images of equal name, whose mattes would overwrite each other")
    options.out.mkdir(parents=True, exist_ok=True)
    for path in images:
        write_matte(options.out / f"{path.stem}.png", predictor(read_image(path)))
    return {"mattes": len(images), "folder": str(options.out)}
