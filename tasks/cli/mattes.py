"""`modnet evaluate` and `modnet infer`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from modnet.checkpoint import load
from modnet.evaluation.evaluate import ALL_METRICS, ERROR_NAMES, FEW_METRICS
from modnet.evaluation.evaluate import evaluate as evaluate_predictor
from modnet.evaluation.metrics import Metric
from modnet.evaluation.score_tables import difference_rows, differences, intervals, score_rows
from modnet.evaluation.scores_file import read_scores, write_scores
from modnet.evaluation.worst_images import SHEET_IMAGES, worst_sheet
from modnet.files import write_atomically
from modnet.inference.background import read_background
from modnet.inference.infer import infer_images, infer_video, is_video
from modnet.inference.results import ResultKind, renderer
from modnet.records import MattingScores
from modnet.weights import SHIPPED_BASE
from tasks.cli import flags
from tasks.cli.flags import Options, Result, UsageError, Verbs
from tasks.cli.given import cost, given_dataset, given_predictor
from tasks.leaderboard import markdown_table


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    evaluation = verbs.add("evaluate", evaluate, flags.network_or_ir(), flags.dataset(), flags.any_device())
    evaluation.add_argument("--split", choices=("val", "tune", "fit", "train"), default="val")
    evaluation.add_argument(
        "--metrics",
        type=_metrics,
        default=FEW_METRICS,
        help=f"all, or some of {','.join(ALL_METRICS)}; mse and mad are always measured (default: mse,mad)",
    )
    evaluation.add_argument(
        "--scores", type=flags.file_to_write, help="JSON file to write the errors of every image into"
    )
    evaluation.add_argument("--compare", type=Path, help="such a file of another network, to compare with")
    evaluation.add_argument(
        "--sheet", type=flags.file_to_write, help=f"PNG to draw the {SHEET_IMAGES} worst images into"
    )
    inference = verbs.add("infer", infer, flags.network_or_ir(), flags.any_device(), flags.out_folder())
    inference.add_argument("--input", type=Path, required=True, help="an image, a folder of images, or a video")
    inference.add_argument(
        "--result",
        choices=get_args(ResultKind),
        default="alpha",
        help="the matte, the person with transparency, or the person on --background (default: alpha)",
    )
    inference.add_argument("--background", help="of a composite: a colour as '#00b140', or an image file")


def evaluate(options: Options) -> Result:
    """Scores a checkpoint, an ONNX file or an IR on one split."""
    others = None if options.compare is None else read_scores(options.compare)
    predictor = given_predictor(options)
    folder, index = given_dataset(options.dataset)
    scores = evaluate_predictor(predictor, folder, index, options.split, predictor.protocol, options.metrics)
    if options.scores is not None:
        options.scores.parent.mkdir(parents=True, exist_ok=True)
        write_scores(options.scores, scores)
    if options.sheet is not None:
        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.sheet, worst_sheet(predictor, folder, index, scores))
    result: Result = {name: getattr(scores, name) for name in ("images", "split", "protocol")}
    result |= cost(load(options.checkpoint, options.prune_info)) if options.checkpoint else {}
    return result | (_described(scores, others) if options.json else {"table": _tables(scores, others)})


def infer(options: Options) -> Result:
    """Cuts people out of images (a PNG each) or a video, at their own size; by default with the shipped network."""
    if (options.background is not None) != (options.result == "composite"):
        raise UsageError("--background says what a composite is on: it goes with --result composite, and only with it")
    background = None if options.background is None else read_background(options.background)
    render = renderer(options.result, background)
    predictor = given_predictor(options, default=SHIPPED_BASE)
    if is_video(options.input):
        return {"written": str(infer_video(predictor, options.input, options.out, render, options.result))}
    written = infer_images(predictor, options.input, options.out, render)
    return {"mattes": len(written), "folder": str(options.out)}


def _described(scores: MattingScores, others: MattingScores | None) -> Result:
    described: Result = {name: value for name in ERROR_NAMES if (value := getattr(scores, name)) is not None}
    described["unknown_images"] = scores.unknown_images
    described["intervals"] = {name: [one.low, one.high] for name, one in intervals(scores).items()}
    if others is not None:
        described["differences"] = {name: asdict(one) for name, one in differences(scores, others).items()}
    return described


def _tables(scores: MattingScores, others: MattingScores | None) -> str:
    tables = [score_rows(scores)]
    if others is not None:
        tables.append(difference_rows(scores, others))
    return "\n\n".join(markdown_table(rows) for rows in tables)


def _metrics(text: str) -> tuple[Metric, ...]:
    chosen = ALL_METRICS if text == "all" else tuple(metric for metric in ALL_METRICS if metric in flags.texts(text))
    if text != "all" and (unknown := set(flags.texts(text)) - {*chosen}):
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted all, or some of {','.join(ALL_METRICS)}")
    return chosen
