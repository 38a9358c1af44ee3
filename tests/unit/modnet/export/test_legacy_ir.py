"""Lowered graphs hold nothing newer than their ceiling and compute the same; what cannot be lowered is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset1 as opset1
import openvino.opset8 as opset8
import openvino.opset11 as opset11
import pytest

from modnet.errors import LoweringError
from modnet.export.legacy_ir import lower, require_opset
from modnet.export.onnx_to_openvino import convert_ir

CEILING = 7


def run(model: ov.Model, x: np.ndarray) -> np.ndarray:
    return np.array(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0])


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_convert_ir_writes_only_what_old_runtimes_read(any_exported, tmp_path: Path) -> None:
    ir = convert_ir(any_exported.onnx_path, tmp_path, targets=["ncs2-fp16"])["ncs2-fp16"]
    text = ir.xml.read_text()
    assert re.search(r'<net [^>]*version="10"', text)
    assert {int(number) for number in re.findall(r'version="opset(\d+)"', text)} <= set(range(1, CEILING + 1))
    kinds = set(re.findall(r'<layer [^>]*type="(\w+)"', text))
    assert not kinds & {"BatchNormInference", "MVN", "Abs", "Slice", "ShapeOf"}


@pytest.mark.parametrize(
    ("start", "stop", "step", "axes"),
    [([4], [9], [1], [1]), ([0], [2**62], [1], [1]), ([-3], [-1], [1], [1]), ([1, 0], [7, 9], [2, 3], [2, 3])],
    ids=["channels", "open end", "from the end", "steps"],
)
def test_lower_replaces_slices(start: list[int], stop: list[int], step: list[int], axes: list[int]) -> None:
    def sliced() -> ov.Model:
        x = opset1.parameter([1, 10, 8, 9], np.float32)
        bounds = [opset1.constant(np.array(values, np.int64)) for values in (start, stop, step, axes)]
        return ov.Model([opset8.slice(x, *bounds)], [x], "sliced")

    lowered, given = sliced(), image(1, 10, 8, 9)
    lower(lowered, opset_ceiling=CEILING, has_safe_norm=True)
    np.testing.assert_array_equal(run(lowered, given), run(sliced(), given))


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_lower_replaces_interpolations(scale: float) -> None:
    def resized() -> ov.Model:
        x = opset1.parameter([1, 3, 16, 24], np.float32)
        scales, axes = opset1.constant(np.array([scale] * 2, np.float32)), opset1.constant(np.array([2, 3], np.int64))
        node = opset11.interpolate(x, scales, "linear_onnx", "scales", axes=axes)
        return ov.Model([node], [x], "resized")

    lowered, given = resized(), image(1, 3, 16, 24)
    lower(lowered, opset_ceiling=CEILING, has_safe_norm=True)
    np.testing.assert_allclose(run(lowered, given), run(resized(), given), rtol=0, atol=1e-6)


def test_require_opset_names_every_kind_beyond_the_ceiling() -> None:
    x = opset1.parameter([1, 3, 8, 8], np.float32)
    pooled = opset8.adaptive_avg_pool(x, opset1.constant(np.array([2, 2], np.int64)))
    pooled.set_friendly_name("/pool")
    model = ov.Model([opset8.softmax(pooled, 1)], [x], "new")
    with pytest.raises(LoweringError, match=r"AdaptiveAvgPool of opset8 \('/pool'\), Softmax of opset8 .* 1 to 7 only"):
        require_opset(model, CEILING)
    require_opset(model, 8)


def reversed_slice(x: ov.Node) -> ov.Node:
    return opset8.slice(x, *(opset1.constant(np.array([value], np.int64)) for value in (7, 0, -1, 3)))


def computed_slice(x: ov.Node) -> ov.Node:
    stop = opset1.convert(opset1.reduce_max(x, opset1.constant(np.array([0, 1, 2, 3], np.int64))), "i64")
    constants = [opset1.constant(np.array([value], np.int64)) for value in (0, 1, 3)]
    stop = opset1.reshape(stop, opset1.constant(np.array([1], np.int64)), special_zero=False)
    return opset8.slice(x, constants[0], stop, constants[1], constants[2])


def layer_norm(x: ov.Node) -> ov.Node:
    import openvino.opset6 as opset6

    return opset6.mvn(x, opset1.constant(np.array([1, 2, 3], np.int64)), True, 1e-5, "inside_sqrt")


@pytest.mark.parametrize(
    ("make", "message"),
    [(reversed_slice, "step -1"), (computed_slice, "is computed"), (layer_norm, r"axes \[1, 2, 3\]")],
    ids=["reversed", "computed", "layer norm"],
)
def test_lower_raises_when_an_operation_has_no_older_form(make, message: str) -> None:
    x = opset1.parameter([1, 3, 8, 8], np.float32)
    with pytest.raises(LoweringError, match=message):
        lower(ov.Model([make(x)], [x], "new"), opset_ceiling=CEILING, has_safe_norm=True)


def test_lower_raises_when_the_input_size_is_open() -> None:
    x = opset1.parameter([1, 3, -1, -1], np.float32)
    bounds = [opset1.constant(np.array([value], np.int64)) for value in (0, 1, 1, 1)]
    with pytest.raises(LoweringError, match="wanted a fixed input size"):
        lower(ov.Model([opset8.slice(x, *bounds)], [x], "open"), opset_ceiling=CEILING, has_safe_norm=True)
