"""What rewriting the network's resizing saves, and what more of it could.

python -m benchmarks.doubling --dataset portraits.zip
python -m benchmarks.doubling --read    # the tables from results/doubling.json alone

Of both shipped networks, as FP32 and as INT8 (calibrated on some of *fit*), float parts in f32, 512×512, two threads:

* plain: as the export wrote them before; then with the rewrites that the export makes, one by one and together;
* on top of these, one other doubling folded into the convolution behind it (`fold`): four phases at the low resolution,
  put beside each other before the norm. These forms are wrong at the border, so each is a lower bound of its time.

Every round takes one sample of each form of a network and precision. Ratios are medians of the rounds' ratios, with
bootstrap intervals of 95 %. They are taken by the clock, and once more as CPU time of all threads, which hardly grows
while others have the cores.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8

from benchmarks.inputs import RESULTS, Json, extracted
from benchmarks.latency.layers import by_kind, profiled
from benchmarks.latency.tables import median_of_ratios
from infra.device.measuring.latency import measure_interleaved
from infra.device.measuring.machine import machine_conditions
from infra.device.measuring.runtime import load_ir, runtime_text
from modnet.data.images import read_image
from modnet.export.graph_file import read_onnx
from modnet.export.half_size_head import heads_at_half_size, phase_weights
from modnet.export.merge_norm import merge_norms
from modnet.export.narrow_convolution import narrow_convolutions_as_products
from modnet.export.quantise import quantise
from modnet.export.runtime import core
from modnet.export.shrunk_image import shrunk_images_as_convolutions
from modnet.export.torch_to_onnx import export_onnx
from modnet.files import write_atomically
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_SMALL
from tasks.tables import markdown_table

FOUND = RESULTS / "doubling.json"
THREADS = 2
CALIBRATION_IMAGES = 8
COMPARED_IMAGES = 3
NETWORKS = {"base": SHIPPED_BASE, "pruned": SHIPPED_SMALL}
LAYERS = {
    one.rpartition("/")[2]: f"/{one}/conv/Conv/WithoutBiases"
    for one in (
        "semantic/lr16x",
        "semantic/lr8x",
        "detail/hr4x/hr4x.0",
        "detail/hr2x/hr2x.0",
        "fusion/lr4x",
        "fusion/f2x",
    )
}
PLAIN, HEAD, IMAGE, BOTH = "plain", "head at half size", "image by convolutions", "both"
EXPORTED = {"fp32": HEAD, "int8": BOTH}


Pixels = Sequence[NDArray[np.float32]]
Change = Callable[[ov.Model], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, unless an earlier run is read, and prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doubling", description="What resizing costs.")
    parser.add_argument("--dataset", type=Path, help="zip of portraits")
    parser.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where it is extracted")
    parser.add_argument("--rounds", type=int, default=40, help="samples of each form (default: 40)")
    parser.add_argument("--read", action="store_true", help=f"only the tables, from {FOUND.name}")
    options = parser.parse_args(arguments)
    if not options.read:
        if options.dataset is None:
            parser.error("--dataset is needed to measure, or --read to look at an earlier run")
        write_atomically(FOUND, json.dumps(_measured(options), indent=1).encode() + b"\n")
    for title, rows in tables(json.loads(FOUND.read_text())).items():
        print(f"\n{title}\n\n{markdown_table(rows)}")
    return 0


def fold(model: ov.Model, name: str) -> None:
    """Computes a convolution of 3×3 or 5×5 at the resolution before the doubling that it reads, in place.

    What lies beside the doubled map keeps a convolution of its own. Within two pixels of the border, four for 5×5, the
    values differ: the doubled map is taken to go on where the convolution pads it by zeros.

    Args:
        model: of fixed size, see `merge_norms`.
        name: of the convolution; it reads a resizing or a concatenation with one.
    """
    convolution = next(one for one in model.get_ops() if one.get_friendly_name() == name)
    weights, source = convolution.input_value(1).get_node().data, convolution.input_value(0).get_node()
    parts = source.input_values() if source.get_type_name() == "Concat" else [convolution.input_value(0)]
    starts = np.cumsum([0, *(part.get_shape()[1] for part in parts)])
    (index,) = (i for i, part in enumerate(parts) if _doubles(part.get_node()))
    phases = phase_weights(weights[:, starts[index] : starts[index + 1]])
    x, padding, cut = parts[index].get_node().input_value(0), weights.shape[-1] // 2, weights.shape[-1] == 5
    result = _convolved(x, phases, padding)
    result = opset8.depth_to_space(result, "blocks_first", 2)  # (B, O, 2H, 2W), for 5×5 (B, O, 2H + 2, 2W + 2)
    if cut:
        result = opset8.slice(result, *(np.array(one) for one in ([1, 1], [-1, -1], [1, 1], [2, 3])))
    if rest := [i for i in range(len(parts)) if i != index]:
        beside = parts[rest[0]] if len(rest) == 1 else opset8.concat([parts[i] for i in rest], 1)
        own = np.concatenate([weights[:, starts[i] : starts[i + 1]] for i in rest], axis=1)
        result = opset8.add(result, _convolved(beside, own, padding))
    convolution.output(0).replace(result.output(0))
    model.validate_nodes_and_infer_types()


def _doubles(node: ov.Node) -> bool:
    is_resizing = node.get_type_name() == "Interpolate"
    return is_resizing and bool(node.get_output_shape(0)[2] == 2 * node.get_input_shape(0)[2])


def _convolved(source: ov.Node | ov.Output, weights: NDArray[np.floating], padding: int) -> ov.Node:
    constant = opset8.constant(np.ascontiguousarray(weights, dtype=np.float32))
    return opset8.convolution(source, constant, [1, 1], [padding] * 2, [padding] * 2, [1, 1])


def costs(model: ov.Model) -> tuple[int, int]:
    """MACs of convolutions and of products with constants, and how many numbers the largest tensor holds."""
    macs, largest = 0, 0
    for operation in model.get_ops():
        kind = operation.get_type_name()
        if kind in ("Constant", "Result"):
            continue
        size = math.prod(operation.get_output_shape(0))
        largest = max(largest, size)
        if kind in ("Convolution", "GroupConvolution", "MatMul"):
            outputs = operation.get_output_shape(0)[-1 if kind == "MatMul" else 1]
            macs += size * math.prod(operation.input_value(1).get_shape()) // outputs
    return macs, largest


def _changes(precision: str) -> dict[str, list[Change]]:
    """What is done to a graph, by form."""
    both: list[Change] = [heads_at_half_size, shrunk_images_as_convolutions]
    exported = both if EXPORTED[precision] == BOTH else both[:1]
    named = {PLAIN: [], HEAD: both[:1], IMAGE: both[1:], BOTH: both}
    return named | {
        f"exported, {layer} folded": [*exported, partial(fold, name=name)] for layer, name in LAYERS.items()
    }


def _measured(options: argparse.Namespace) -> Json:
    images, index = extracted(options.dataset, options.cache)
    calibration, compared = (
        [prepare(read_image(images / one.image), "device-512").pixels for one in chosen]
        for chosen in (index.split("fit")[:CALIBRATION_IMAGES], index.split("val")[:COMPARED_IMAGES])
    )
    result: Json = {"runtime": runtime_text(), "conditions_before": machine_conditions(), "forms": {}, "nodes": {}}
    with TemporaryDirectory() as temporary:
        for name, checkpoint in NETWORKS.items():
            onnx_path = export_onnx(load(checkpoint), Path(temporary) / f"{name}.onnx")
            for precision in ("fp32", "int8"):
                folder = Path(temporary) / f"{name}-{precision}"
                folder.mkdir()
                about: dict[str, Json] = {}
                irs: dict[str, Path] = {}
                for form, changes in _changes(precision).items():
                    model = read_onnx(onnx_path)
                    merge_norms(model)
                    if not about:
                        wanted = _alphas(model, compared)
                    for change in changes:
                        change(model)
                    about[form] = _about(model, compared, wanted)
                    if precision == "int8":
                        narrow_convolutions_as_products(model)
                        model = quantise(model, calibration)
                    irs[form] = folder / f"{len(irs)}.xml"
                    ov.save_model(model, irs[form], compress_to_fp16=False)
                samples = _samples(irs, options.rounds)
                key = f"{name} {precision}"
                result["forms"][key] = {form: about[form] | samples[form] for form in irs}
                result["nodes"][key] = profiled({form: irs[form] for form in (PLAIN, EXPORTED[precision])}, THREADS, ())
    return result | {"conditions_after": machine_conditions()}


def _about(model: ov.Model, images: Pixels, wanted: Pixels) -> Json:
    """Costs, and the largest difference of alpha."""
    macs, largest = costs(model)
    differences = [np.abs(got - alpha).max() for got, alpha in zip(_alphas(model, images), wanted, strict=True)]
    return {"macs": macs, "largest_tensor": largest, "difference": float(max(differences))}


def _alphas(model: ov.Model, images: Pixels) -> list[NDArray[np.float32]]:
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(compiled(one)[0]) for one in images]


def _samples(irs: Mapping[str, Path], rounds: int) -> dict[str, Json]:
    runs = {form: load_ir(xml, threads=THREADS, precision="f32").run_once for form, xml in irs.items()}
    clock = measure_interleaved(runs, warm_up=3, rounds=rounds)
    cpu = measure_interleaved(runs, warm_up=1, rounds=rounds, clock_ns=time.process_time_ns)
    return {form: {"samples_ms": clock[form].samples_ms, "cpu_ms": cpu[form].samples_ms} for form in irs}


def tables(result: Json) -> dict[str, list[dict[str, str]]]:
    """What the samples say, by title."""
    found = {}
    for key, forms in result["forms"].items():
        found[f"{key}, {THREADS} threads, {result['runtime']}"] = [
            {
                "form": form,
                "median ms": f"{statistics.median(row['samples_ms']):.1f}",
                "time of plain": f"{median_of_ratios(row['samples_ms'], forms[PLAIN]['samples_ms']):.3f}",
                "CPU time of plain": f"{median_of_ratios(row['cpu_ms'], forms[PLAIN]['cpu_ms']):.3f}",
                "GMAC": f"{row['macs'] / 1e9:.3f}",
                "largest tensor, M": f"{row['largest_tensor'] / 1e6:.2f}",
                "largest difference in float": f"{row['difference']:.0e}",
            }
            for form, row in forms.items()
        ]
        found[f"{key}: milliseconds by kind of node"] = by_kind(result["nodes"][key])
    return found


if __name__ == "__main__":
    raise SystemExit(main())
