"""A graph whose head is a product of matrices computes the same, in float and in 8 bits."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset8
from torch import nn

from modnet.export.merge_norm import merge_norms
from modnet.export.narrow_convolution import narrow_convolutions_as_products
from modnet.export.quantise import quantise
from modnet.export.runtime import core
from modnet.graph_function import TorchGraph

Pixels = list[NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def read(onnx_path: Path) -> ov.Model:
    model = core().read_model(onnx_path)
    merge_norms(model)
    return model


def test_narrow_convolutions_as_products_computes_the_network(any_exported, pixels: Pixels) -> None:
    convolutions = {
        path: (one.out_channels, one.kernel_size, one.stride)
        for path, one in any_exported.network.named_modules()
        if isinstance(one, nn.Conv2d) and "detail.head" not in path  # of training only
    }
    narrow = [path for path, shape in convolutions.items() if shape == (1, (1, 1), (1, 1))]
    model = read(any_exported.onnx_path)
    assert narrow_convolutions_as_products(model) == len(narrow)
    assert "fusion.head" in narrow
    compiled, reference = core().compile_model(model, "CPU", F32), TorchGraph(any_exported.network)
    for one in pixels:
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-5)
    assert narrow_convolutions_as_products(model) == 0


def test_narrow_convolutions_as_products_computes_the_network_at_every_size(exported_dynamic) -> None:
    model = read(exported_dynamic.onnx_path)
    assert narrow_convolutions_as_products(model) == 1
    compiled, reference = core().compile_model(model, "CPU", F32), TorchGraph(exported_dynamic.network)
    for shape in ((1, 3, 64, 96), (2, 3, 32, 32)):
        one = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-5)


@pytest.mark.slow
def test_narrow_convolutions_as_products_computes_the_network_in_8_bits(any_exported, pixels: Pixels) -> None:
    """The kernels that run then are others, and have been wrong for other ways to write a head."""
    plain, product = read(any_exported.onnx_path), read(any_exported.onnx_path)
    narrow_convolutions_as_products(product)
    quantised = quantise(product, pixels)
    (head,) = (
        one for one in quantised.get_ops() if one.get_friendly_name() == "/fusion/head/Conv/WithoutBiases/Product"
    )
    rounded, column = (source.get_node() for source in head.input_values())
    assert rounded.input_value(0).get_node().get_type_name() == "FakeQuantize"
    assert column.get_type_name() != "Constant"  # 8 bits and a scale
    got, wanted, exact = (core().compile_model(one, "CPU", F32) for one in (quantised, quantise(plain, pixels), plain))
    for one in pixels:
        assert np.abs(got(one)[0] - wanted(one)[0]).mean() < 0.005
        assert np.ptp(exact(one)[0]) > 0.1  # there is something to get wrong
        assert np.abs(got(one)[0] - exact(one)[0]).mean() < 0.05


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"),
    [((2, 6, 1, 1), 1, 0), ((1, 6, 3, 3), 1, 1), ((1, 6, 1, 1), 2, 0), ((1, 6, 1, 1), 1, 1)],
    ids=["two channels", "3×3", "stride", "padding"],
)
def test_narrow_convolutions_as_products_leaves_other_convolutions_alone(
    kernel: tuple[int, ...], stride: int, pad: int
) -> None:
    image = opset8.parameter([1, 6, 4, 4], np.float32)
    weights = opset8.constant(np.ones(kernel, np.float32))
    model = ov.Model([opset8.convolution(image, weights, [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])], [image])
    assert narrow_convolutions_as_products(model) == 0
