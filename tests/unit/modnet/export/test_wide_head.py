"""A widened head computes the same; what cannot be widened stays."""

from collections import Counter

import numpy as np
import openvino as ov
import pytest
from openvino import opset8

from modnet.export.merge_norm import merge_norms
from modnet.export.runtime import core
from modnet.export.wide_head import PIXELS, widen_heads

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def kernels(model: ov.Model) -> Counter[tuple[int, ...]]:
    return Counter(
        (one.input_value(1).get_shape()[0], *one.input_value(1).get_shape()[2:])
        for one in model.get_ops()
        if one.get_type_name() == "Convolution"
    )


def test_widen_heads_computes_the_network(any_exported) -> None:
    """Also at another batch size, as the edge agent asks for."""
    plain, model = (core().read_model(any_exported.onnx_path) for _ in range(2))
    for one in (plain, model):
        merge_norms(one)
    widened = widen_heads(model)
    assert widened >= 1
    assert kernels(model) - kernels(plain) == Counter({(PIXELS, 1, PIXELS): widened})
    image = np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    for one in (plain, model):
        one.reshape([2, 3, 64, 64])
    expected, got = (core().compile_model(one, "CPU", F32)(image)[0] for one in (plain, model))
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert widen_heads(model) == 0


def test_widen_heads_leaves_open_sizes_alone(exported_dynamic) -> None:
    model = core().read_model(exported_dynamic.onnx_path)
    merge_norms(model)
    assert widen_heads(model) == 0


@pytest.mark.parametrize(
    ("outputs", "kernel", "stride", "width"),
    [(1, 1, 1, PIXELS + 1), (2, 1, 1, PIXELS), (1, 3, 1, PIXELS), (1, 1, 2, 2 * PIXELS)],
    ids=["odd width", "two channels", "kernel", "stride"],
)
def test_widen_heads_leaves_other_convolutions_alone(outputs: int, kernel: int, stride: int, width: int) -> None:
    image = opset8.parameter([1, 4, 8, width], np.float32)
    weight = np.ones((outputs, 4, kernel, kernel), np.float32)
    pad = [kernel // 2] * 2
    model = ov.Model([opset8.convolution(image, weight, [stride] * 2, pad, pad, [1, 1])], [image])
    before = kernels(model)
    assert widen_heads(model) == 0
    assert kernels(model) == before


def test_widen_heads_keeps_weights_of_8_bits() -> None:
    generator = np.random.default_rng(0)
    image = opset8.parameter([1, 4, 8, 2 * PIXELS], np.float32)
    stored = opset8.constant(generator.integers(-127, 128, (1, 4, 1, 1)).astype(np.int8))
    weight = opset8.multiply(opset8.convert(stored, "f32"), opset8.constant(np.full((1, 1, 1, 1), 0.01, np.float32)))
    model = ov.Model([opset8.convolution(image, weight, [1, 1], [0, 0], [0, 0], [1, 1])], [image])
    one = generator.uniform(-1, 1, (1, 4, 8, 2 * PIXELS)).astype(np.float32)
    expected = core().compile_model(model, "CPU", F32)(one)[0]
    assert widen_heads(model) == 1
    np.testing.assert_allclose(core().compile_model(model, "CPU", F32)(one)[0], expected, atol=1e-6)
    types = {tuple(node.data.shape): node.data.dtype for node in model.get_ops() if node.get_type_name() == "Constant"}
    assert types[(PIXELS, 4, 1, PIXELS)] == np.int8
