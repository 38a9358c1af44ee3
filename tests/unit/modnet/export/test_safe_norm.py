"""The safe instance norm is the instance norm, and stays so where every number, sums included, is a float16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset1 as ops
import pytest
from numpy.typing import NDArray

from modnet.export.safe_norm import safe_instance_norm

EPSILON = 1e-5
Half = NDArray[np.float16]


def instance_norm(x: NDArray[Any]) -> NDArray[np.float64]:
    """By definition, in float64."""
    x = x.astype(np.float64)
    mean, variance = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON)


def plain_in_half(x: Half) -> Half:
    """The usual way, in float16: NumPy adds in pairs, so this is not the worst order."""
    count = np.float16(1 / (x.shape[2] * x.shape[3]))
    centred = x - x.sum(axis=(2, 3), keepdims=True, dtype=np.float16) * count
    variance = (centred * centred).sum(axis=(2, 3), keepdims=True, dtype=np.float16) * count
    return centred / np.sqrt(variance + np.float16(EPSILON))


def norm_model(shape: tuple[int, ...]) -> ov.Model:
    x = ops.parameter(list(shape), np.float32, name="x")
    return ov.Model([safe_instance_norm(x.output(0), EPSILON)], [x], "norm")


def in_half(model: ov.Model, x: Half) -> Half:
    """Runs a graph with every constant, value and partial sum rounded to float16."""
    values: dict[str, Half] = {}
    binary: dict[str, Callable[..., Half]] = {
        "Multiply": np.multiply,
        "Add": np.add,
        "Subtract": np.subtract,
        "Divide": np.divide,
        "Maximum": np.maximum,
    }
    for node in model.get_ordered_ops():
        kind, given = node.get_type_name(), [values[one.get_node().get_friendly_name()] for one in node.input_values()]
        if kind == "Parameter":
            value = x
        elif kind == "Constant":
            value = node.get_data().astype(np.float16)
        elif kind in binary:
            value = binary[kind](*given)
        elif kind == "Sqrt":
            value = np.sqrt(given[0])
        elif kind in ("AvgPool", "MaxPool"):
            height, width = node.get_attributes()["kernel"]
            batch, channels, rows, columns = given[0].shape
            tiles = given[0].reshape(batch, channels, rows // height, height, columns // width, width)
            tiles = tiles.transpose(0, 1, 2, 4, 3, 5).reshape(batch, channels, rows // height, columns // width, -1)
            if kind == "MaxPool":
                value = tiles.max(axis=-1)
            else:
                sums = np.add.accumulate(tiles, axis=-1, dtype=np.float16)[..., -1]
                value = sums * np.float16(1 / (height * width))
        else:
            assert kind == "Result", kind
            return given[0]
        assert value.dtype == np.float16
        values[node.get_friendly_name()] = value
    raise AssertionError("no result")


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 2, 2), (1, 2, 1, 1), (1, 2, 96, 352), (1, 2, 16, 7)], ids=str)
def test_safe_instance_norm_is_the_instance_norm(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(3.0, 2.0, shape).astype(np.float32)
    compiled = ov.Core().compile_model(norm_model(shape), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(x)[0], instance_norm(x), rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.parametrize(("mean", "deviation"), [(0, 50), (200, 50), (-3000, 3000), (0, 1), (0, 0.01)], ids=str)
def test_safe_instance_norm_stays_true_in_half_precision_where_the_plain_form_does_not(
    mean: float, deviation: float
) -> None:
    shape = (1, 2, 512, 512)
    x = np.random.default_rng(0).normal(mean, deviation, shape).astype(np.float16)
    wanted = instance_norm(x)
    error = np.abs(in_half(norm_model(shape), x) - wanted)
    assert error.max() < 0.02
    assert error.mean() < 2e-3
    if deviation >= 1:
        assert not np.abs(plain_in_half(x) - wanted).mean() < 0.5


@pytest.mark.parametrize(("value", "largest"), [(0.0, 0.0), (0.3, 1.0), (20000.0, 1.0)], ids=str)
def test_safe_instance_norm_of_a_constant_channel_is_finite_in_half_precision(value: float, largest: float) -> None:
    x = np.full((1, 1, 64, 64), value, np.float16)
    assert np.abs(in_half(norm_model(x.shape), x)).max() <= largest  # of other constants than 0 the mean is rounded


def test_safe_instance_norm_keeps_a_single_bright_pixel_in_half_precision() -> None:
    x = np.zeros((1, 1, 512, 512), np.float16)
    x[0, 0, 100, 100] = 10000
    np.testing.assert_allclose(in_half(norm_model(x.shape), x), instance_norm(x), rtol=0.02, atol=0.01)
