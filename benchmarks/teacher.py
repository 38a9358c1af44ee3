"""Which networks together make the best mattes for others to learn from, and whether their doubt tells bad ones.

python -m benchmarks.teacher --dataset portraits.zip --base modnet.ckpt [--networks NAME=CHECKPOINT …] \
  [--shapes 480x320 576x384 …]

Every set of networks, all at one shape, with and without the mirrored image, on *tune*, FP32. Then the errors of the
last set by its doubt, as `modnet dataset pseudo-label` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from benchmarks.inputs import UNPRUNED, extracted, input_parser
from modnet.configs.shape import shown
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.progress import progress_over
from modnet.targets import Shape
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.images import Alpha, read_pair
from modnet.workloads.matting.evaluate import score_image
from modnet.workloads.matting.names import FEW_METRICS
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from modnet.workloads.matting.pseudo_labels import doubt_of
from modnet.workloads.matting.weights import checkpoint_path
from tasks.cli.values import size
from tasks.tables import markdown_table

SHARES = (0.5, 0.75, 0.9, 1.0)  # of the images, the least doubtful first


class Teacher(NamedTuple):
    """Networks that all read one shape."""

    networks: tuple[str, ...]
    shape: Shape
    is_mirrored: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints both tables."""
    parser = input_parser("Which networks together make the best mattes.")
    parser.add_argument("--networks", nargs="*", default=["shipped-pruned=shipped-pruned"], metavar="NAME=CHECKPOINT")
    parser.add_argument("--shapes", nargs="+", type=size, default=[(480, 320), (576, 384)], metavar="HxW")
    options = parser.parse_args(arguments)
    checkpoints = {UNPRUNED: str(options.base)} | dict(one.split("=", 1) for one in options.networks)
    folder, index = extracted(options.dataset, options.cache)
    sets = [names for count in range(1, len(checkpoints) + 1) for names in combinations(checkpoints, count)]
    teachers = [Teacher(*one) for one in product(sets, options.shapes, (False, True))]
    errors: dict[Teacher, list[dict[str, float]]] = {teacher: [] for teacher in teachers}
    doubts: list[float] = []
    with TemporaryDirectory() as temporary:
        predictors = {
            (name, shape): _predictor(checkpoint, shape, Path(temporary, name))
            for name, checkpoint in checkpoints.items()
            for shape in options.shapes
        }
        for pair in progress_over(index.split("tune"), "making mattes", "image"):
            image, alpha = read_pair(folder / pair.image, folder / pair.matte)
            mirrored = np.ascontiguousarray(image[:, ::-1])
            made: dict[tuple[str, Shape], list[Alpha]] = {
                key: [predictor(image), predictor(mirrored)[:, ::-1]] for key, predictor in predictors.items()
            }
            for teacher in teachers:
                mattes = [
                    matte for name in teacher.networks for matte in made[name, teacher.shape][: 1 + teacher.is_mirrored]
                ]
                matte, doubt = doubt_of(mattes)
                errors[teacher].append(score_image(pair.stem, matte, alpha, FEW_METRICS).errors)
                if teacher == teachers[-1]:
                    doubts.append(doubt)
    print(markdown_table(rows(errors)))
    print(markdown_table(by_doubt(doubts, [one["mse"] for one in errors[teachers[-1]]])))
    return 0


def rows(errors: dict[Teacher, list[dict[str, float]]]) -> list[dict[str, str]]:
    """One row per teacher, the best first."""
    listed = []
    for teacher, found in sorted(errors.items(), key=lambda item: _mean(item[1], "mse")):
        listed.append(
            {
                "networks": ", ".join(teacher.networks),
                "shape": shown(teacher.shape),
                "mirrored as well": "yes" if teacher.is_mirrored else "",
                "MSE": f"{_mean(found, 'mse'):.5f}",
                "MSE, unknown band": f"{_mean(found, 'unknown_mse'):.4f}",
                "MAD": f"{_mean(found, 'mad'):.4f}",
            }
        )
    return listed


def by_doubt(doubts: Sequence[float], errors: Sequence[float]) -> list[dict[str, str]]:
    """Mean error of the least doubtful images, for each share of all."""
    ordered = np.argsort(doubts)
    listed = []
    for share in SHARES:
        kept = ordered[: round(share * len(ordered))]
        listed.append(
            {
                "images": f"{share:.0%}",
                "doubt up to": f"{np.array(doubts)[kept].max():.4f}",
                "MSE": f"{np.array(errors)[kept].mean():.5f}",
                "× that of all": f"{np.array(errors)[kept].mean() / np.mean(errors):.2f}",
            }
        )
    return listed


def _mean(found: Sequence[dict[str, float]], name: str) -> float:
    return float(np.mean([one[name] for one in found if name in one]))


def _predictor(checkpoint: str, shape: Shape, folder: Path) -> IrPredictor:
    onnx = export_onnx(load(checkpoint_path(checkpoint)), folder / f"{shown(shape)}.onnx", size=shape)
    return IrPredictor(convert_ir(onnx, folder, targets=("cpu-fp32",), size=shape)["cpu-fp32"].xml)


if __name__ == "__main__":
    raise SystemExit(main())
