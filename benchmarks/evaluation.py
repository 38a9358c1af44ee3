"""What evaluation costs beside the network's own time: reading, sizing, measuring.

python -m benchmarks.evaluation --dataset portraits.zip --base modnet.ckpt [--images 100]

The network is the unpruned FP32 IR. For each image, one after another and in turning order, so that a busy moment of
the machine meets all alike: inference alone on pixels that are ready, an evaluation with MSE and MAD, one with all five
metrics, the unknown band included in both. CPU time is that of all threads; unlike wall time it does not grow while
other processes have the cores.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.inputs import extracted, input_parser
from modnet.data.images import read_image
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.evaluate import evaluate
from modnet.workloads.matting.names import ALL_METRICS, FEW_METRICS
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from tasks.tables import markdown_table

WARM_UP_IMAGES = 3


class Timing(NamedTuple):
    wall_s: float
    cpu_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = input_parser("What evaluation costs beside the network's own time.")
    parser.add_argument("--images", type=int, default=100, help="of val (default: 100)")
    options = parser.parse_args(arguments)
    folder, index = extracted(options.dataset, options.cache)
    with TemporaryDirectory() as temporary:
        onnx_path = export_onnx(load(options.base), Path(temporary) / "base.onnx", size=512)
        predictor = IrPredictor(convert_ir(onnx_path, Path(temporary), targets=("cpu-fp32",))["cpu-fp32"].xml)
    names = ("inference alone", "MSE and MAD", "all five")
    timings: dict[str, list[Timing]] = {name: [] for name in names}
    pairs, sizes = index.val[: options.images], []
    warm_up = pairs[:WARM_UP_IMAGES]
    for number, pair in enumerate((*warm_up, *pairs)):
        image = read_image(folder / pair.image)
        pixels = prepare(image, "device-512").pixels
        alone = index.model_copy(update={"val": (pair,)})
        evaluation = partial(evaluate, predictor, folder, alone, "val", "device-512")
        runs: list[Callable[[], object]] = [
            partial(predictor.matte, pixels),
            partial(evaluation, FEW_METRICS),
            partial(evaluation, ALL_METRICS),
        ]
        timed = {which: _timed(runs[which]) for which in ((number + turn) % 3 for turn in range(3))}
        if number >= len(warm_up):
            sizes.append(image.shape[:2])
            for which, name in enumerate(names):
                timings[name].append(timed[which])
    height, width = (statistics.median(sides) for sides in zip(*sizes, strict=True))
    print(f"{len(pairs)} images, in the median {width:g} × {height:g} pixels (width × height)")
    print(markdown_table([_row(name, timings[name], timings["inference alone"]) for name in names]))
    return 0


def _row(name: str, timings: Sequence[Timing], inference: Sequence[Timing]) -> dict[str, str]:
    wall, cpu = ([1000 * one[kind] for one in timings] for kind in range(2))
    wall_alone, cpu_alone = ([1000 * one[kind] for one in inference] for kind in range(2))
    extra = [value - alone for value, alone in zip(wall, wall_alone, strict=True)]
    return {
        "what": name,
        "wall s in all": f"{sum(wall) / 1000:.2f}",
        "of inference": f"{sum(wall) / sum(wall_alone):.3f}",
        "median ms": f"{statistics.median(wall):.1f}",
        "overhead ms, mean": f"{statistics.mean(extra):.1f}",
        "overhead ms, median": f"{statistics.median(extra):.1f}",
        "CPU of inference": f"{sum(cpu) / sum(cpu_alone):.3f}",
        "CPU overhead ms, mean": f"{statistics.mean(cpu) - statistics.mean(cpu_alone):.1f}",
    }


def _timed(run: Callable[[], object]) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    raise SystemExit(main())
