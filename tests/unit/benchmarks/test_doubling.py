"""A folded doubling computes the same away from the border, and costs are those of the graph."""

import json
from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset8, opset11

from benchmarks.doubling import BOTH, HEAD, IMAGE, PLAIN, costs, fold, tables
from modnet.export.runtime import core

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
Change = Callable[[ov.Model], object]


def draw(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape)).uniform(-1, 1, shape).astype(np.float32)


def graph(kernel: int, beside: tuple[int, ...]) -> ov.Model:
    """x (1, 4, 9, 7) is doubled, first or between what lies beside it, and read by a convolution to 3 channels."""
    x = opset8.parameter([1, 4, 9, 7], np.float32)
    others = [opset8.parameter([1, channels, 18, 14], np.float32) for channels in beside]
    sizes, axes = (opset8.constant(np.array(one)) for one in ([18, 14], [2, 3]))
    doubled = opset11.interpolate(
        x, sizes, "linear_onnx", "sizes", coordinate_transformation_mode="half_pixel", axes=axes
    )
    source = opset8.concat([*others[:1], doubled, *others[1:]], 1) if others else doubled
    pad = [kernel // 2] * 2
    weights = opset8.constant(draw(3, 4 + sum(beside), kernel, kernel))
    convolution = opset8.convolution(source, weights, [1, 1], pad, pad, [1, 1])
    convolution.set_friendly_name("it")
    return ov.Model([opset8.relu(convolution)], [x, *others])


@pytest.mark.parametrize("beside", [(), (2,), (2, 3)], ids=["alone", "beside one", "beside two"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_fold_computes_the_same_away_from_the_border(kernel: int, beside: tuple[int, ...]) -> None:
    plain, folded = graph(kernel, beside), graph(kernel, beside)
    fold(folded, "it")
    assert "Interpolate" not in [operation.get_type_name() for operation in folded.get_ops()]
    inputs = [draw(*one.shape) for one in plain.inputs]
    wanted, got = (core().compile_model(one, "CPU", F32)(inputs)[0] for one in (plain, folded))
    edge = kernel - 1
    inside = (..., slice(edge, -edge), slice(edge, -edge))
    assert wanted[inside].size
    np.testing.assert_allclose(got[inside], wanted[inside], atol=1e-5)


def test_costs_are_those_of_the_graph() -> None:
    model = graph(5, ())
    assert costs(model) == (3 * 18 * 14 * 4 * 25, 4 * 18 * 14)
    fold(model, "it")
    assert costs(model)[0] == 4 * 3 * 10 * 8 * 4 * 16


def test_tables_compare_every_form_with_the_plain_one() -> None:
    row = {"samples_ms": [4.0, 4.0], "cpu_ms": [8.0, 8.0], "macs": 2e9, "largest_tensor": 5e6, "difference": 0.0}
    forms = {PLAIN: row, **{form: row | {"samples_ms": [3.0, 3.0]} for form in (HEAD, IMAGE, BOTH)}}
    nodes = {PLAIN: [{"kind": "Resize", "ms": 1.0}], BOTH: [{"kind": "Convolution", "ms": 1.0}]}
    result = json.loads(json.dumps({"runtime": "r", "forms": {"base int8": forms}, "nodes": {"base int8": nodes}}))
    compared, kinds = tables(result).values()
    assert [one["time of plain"] for one in compared] == ["1.000 (1.000–1.000)", *["0.750 (0.750–0.750)"] * 3]
    assert [one["kind"] for one in kinds] == ["Convolution", "Resize"]
