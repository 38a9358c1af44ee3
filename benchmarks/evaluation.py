"""What evaluation costs beside the network's own time: reading, sizing, writing nothing, measuring. Linux.

python -m benchmarks.evaluation --dataset portraits.zip --base modnet.ckpt [--images 100]

The network is the unpruned FP32 IR. For each image, one after another and in turning order, so that a busy moment of
the machine meets all alike: inference alone on pixels that are ready, an evaluation with MSE and MAD, one with all five
metrics, the unknown band included in both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from modnet.checkpoint import load
from modnet.data.archives import extract_archive, index_dataset
from modnet.data.images import prepare, read_image
from modnet.evaluation.evaluate import ALL_METRICS, FEW_METRICS, evaluate
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.predictors import IrPredictor
from modnet.export.torch_to_onnx import export_onnx
from tasks.leaderboard import markdown_table

WARM_UP_IMAGES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What evaluation costs beside the network's own time.")
    parser.add_argument("--dataset", type=Path, required=True, help="zip of portraits")
    parser.add_argument("--base", type=Path, required=True, help="unpruned checkpoint")
    parser.add_argument("--images", type=int, default=100, help="of val (default: 100)")
    parser.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where the zip is extracted")
    options = parser.parse_args(arguments)
    folder = extract_archive(options.dataset, options.cache)
    index = index_dataset(folder)
    with TemporaryDirectory() as temporary:
        onnx_path = export_onnx(load(options.base), Path(temporary) / "base.onnx", size=512)
        predictor = IrPredictor(convert_ir(onnx_path, Path(temporary), precisions=("fp32",))["fp32"].xml)
    seconds: dict[str, list[float]] = {"inference alone": [], "MSE and MAD": [], "all five": []}
    pairs, heights, widths = index.val[: options.images], [], []
    for number, pair in enumerate((*pairs[:WARM_UP_IMAGES], *pairs)):
        image = read_image(folder / pair.image)
        pixels = prepare(image, "device-512").pixels.numpy()
        alone = index.model_copy(update={"val": (pair,)})
        evaluation = partial(evaluate, predictor, folder, alone, "val", "device-512")
        runs: list[Callable[[], object]] = [
            partial(predictor.matte, pixels),
            partial(evaluation, FEW_METRICS),
            partial(evaluation, ALL_METRICS),
        ]
        timed = {which: _seconds(runs[which]) for which in ((number + turn) % 3 for turn in range(3))}
        if number >= WARM_UP_IMAGES:
            heights.append(image.shape[0])
            widths.append(image.shape[1])
            for which, name in enumerate(seconds):
                seconds[name].append(timed[which])
    size = f"{statistics.median(widths):g} × {statistics.median(heights):g}"
    print(f"{len(pairs)} images, in the median {size} pixels; OpenCV {cv2.__version__}")
    print(markdown_table([_row(name, values, seconds["inference alone"]) for name, values in seconds.items()]))
    return 0


def _row(name: str, values: Sequence[float], inference: Sequence[float]) -> dict[str, str]:
    extra = [1000 * (value - alone) for value, alone in zip(values, inference, strict=True)]
    return {
        "what": name,
        "s in all": f"{sum(values):.2f}",
        "of inference": f"{sum(values) / sum(inference):.3f}",
        "median ms": f"{1000 * statistics.median(values):.1f}",
        "overhead ms, mean": f"{statistics.mean(extra):.1f}",
        "overhead ms, median": f"{statistics.median(extra):.1f}",
    }


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
