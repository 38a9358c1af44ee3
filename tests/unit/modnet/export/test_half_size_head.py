"""A head at half the size computes the same, at the border too, in float and in 8 bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray
from openvino import opset8, opset11
from torch.nn import functional as F

from modnet.export.accuracy_control import put_back, rounded_layers
from modnet.export.half_size_head import heads_at_half_size, phase_weights
from modnet.export.merge_norm import merge_norms
from modnet.export.narrow_convolution import narrow_convolutions_as_products
from modnet.export.quantise import quantise
from modnet.export.runtime import core
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import TorchGraph
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec, SplitWidth
from tests.unit.modnet.random_network import random_network

Pixels = list[NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def draw(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def head(
    shape: tuple[int, ...] = (1, 5, 4, 6),
    *,
    beside: int = 3,
    outputs: int = 2,
    kernel: int = 3,
    finals: int = 1,
    times: int = 2,
    mode: str = "linear_onnx",
    norm: bool = False,
    is_read_twice: bool = False,
    kind: type = np.float32,
) -> ov.Model:
    """A graph of random weights: (B, C, H, W) and (B, beside, 2H, 2W) in, (B, finals, 2H, 2W) out."""
    batch, channels, height, width = shape
    x = opset8.parameter(shape, kind)
    y = opset8.parameter([batch, beside, times * height, times * width], kind)
    sizes, axes = (opset8.constant(np.array(one)) for one in ([times * height, times * width], [2, 3]))
    doubled = opset11.interpolate(x, sizes, mode, "sizes", coordinate_transformation_mode="half_pixel", axes=axes)

    def convolved(source: ov.Node, weights: NDArray[np.float32]) -> ov.Node:
        pad = [weights.shape[-1] // 2] * 2
        result = opset8.convolution(source, opset8.constant(weights.astype(kind)), [1, 1], pad, pad, [1, 1])
        return opset8.add(result, opset8.constant(draw((1, len(weights), 1, 1), 2).astype(kind)))

    features = convolved(opset8.concat([doubled, y], 1), draw((outputs, channels + beside, kernel, kernel), 0))
    if norm:
        features = opset8.mvn(features, np.array([2, 3]), True, 1e-5, "inside_sqrt")
    last = convolved(opset8.relu(features), draw((finals, outputs, 1, 1), 1))
    return ov.Model([last, doubled] if is_read_twice else [last], [x, y])


def run(model: ov.Model) -> NDArray[np.float32]:
    inputs = [draw(tuple(one.shape), 3 + index) for index, one in enumerate(model.inputs)]
    return np.array(core().compile_model(model, "CPU", F32)(inputs)[0])


@pytest.mark.parametrize(
    ("shape", "beside", "outputs"),
    [((1, 5, 4, 6), 3, 2), ((1, 2, 3, 3), 1, 4), ((1, 16, 7, 5), 3, 8), ((2, 7, 13, 9), 6, 3), ((1, 4, 3, 11), 3, 5)],
)
def test_heads_at_half_size_computes_the_same_at_every_pixel(shape: tuple[int, ...], beside: int, outputs: int) -> None:
    plain, changed = (head(shape, beside=beside, outputs=outputs) for _ in range(2))
    assert heads_at_half_size(changed) == 1
    assert heads_at_half_size(changed) == 0
    wanted = run(plain)
    assert np.ptp(wanted[..., 0, :]) > 0.05  # there is something to get wrong at the border
    np.testing.assert_allclose(run(changed), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        {"beside": 5},
        {"kernel": 5},
        {"finals": 2},
        {"times": 3},
        {"mode": "nearest"},
        {"norm": True},
        {"is_read_twice": True},
        {"shape": (1, 5, 2, 6)},
        {"kind": np.float16},
    ],
    ids=lambda other: next(iter(other)),
)
def test_heads_at_half_size_leaves_what_is_no_such_head_alone(other: dict[str, Any]) -> None:
    assert heads_at_half_size(head(**other)) == 0


def test_heads_at_half_size_leaves_open_sizes_alone(exported_dynamic) -> None:
    model = core().read_model(exported_dynamic.onnx_path)
    merge_norms(model)
    assert heads_at_half_size(model) == 0


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("shape", [(1, 1, 7, 5), (2, 3, 9, 6)])
def test_phase_weights_compute_the_convolution_of_the_doubled_map(kernel: int, shape: tuple[int, ...]) -> None:
    x, weights = (torch.from_numpy(draw(one, 0)).double() for one in (shape, (4, shape[1], kernel, kernel)))
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    phases = torch.from_numpy(phase_weights(weights.numpy()))
    squares = F.conv2d(x, phases)  # (B, 2 · 2 · 4, h, w)
    batch, _, height, width = squares.shape
    got = squares.view(batch, 2, 2, 4, height, width).permute(0, 3, 4, 1, 5, 2).reshape(batch, 4, 2 * height, -1)
    first = 2 + (kernel - 3) // 2  # tap 1 of the first output is x[1], whose square begins here
    wanted = F.conv2d(doubled, weights, padding=kernel // 2)[..., first:, first:][..., : 2 * height, : 2 * width]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def network() -> MODNet:
    """A head whose norm is batch norm alone, as pruning leaves it."""
    return random_network(ModnetSpec.tiny().model_copy(update={"fusion_head": SplitWidth(batch=4, instance=0)}))


@pytest.fixture(scope="module")
def read(network: MODNet, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ov.Model]:
    path = export_onnx(network, tmp_path_factory.mktemp("head") / "modnet.onnx", size=64)

    def merged() -> ov.Model:
        model = core().read_model(Path(path))
        merge_norms(model)
        return model

    return merged


def test_heads_at_half_size_computes_the_network(network: MODNet, read: Callable[[], ov.Model], pixels: Pixels) -> None:
    model, reference = read(), TorchGraph(network)
    assert heads_at_half_size(model) == 1
    names = {operation.get_friendly_name(): operation for operation in model.get_ops()}
    assert "/fusion/Resize_1" not in names
    assert names["/fusion/head/Conv"].get_output_shape(0) == [1, 1, 64, 64]
    compiled = core().compile_model(model, "CPU", F32)
    for one in pixels:
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-5)
    model.reshape([len(pixels), 3, 64, 64])
    together = core().compile_model(model, "CPU", F32)(np.concatenate(pixels))[0]
    np.testing.assert_allclose(together, np.concatenate([reference(one) for one in pixels]), atol=2e-5)


@pytest.mark.slow
def test_heads_at_half_size_computes_the_network_in_8_bits(read: Callable[[], ov.Model], pixels: Pixels) -> None:
    exact, plain, half = read(), read(), read()
    heads_at_half_size(half)
    for one in (plain, half):
        narrow_convolutions_as_products(one)
    quantised = quantise(half, pixels)
    for operation in quantised.get_ops():
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        if kind == "Convolution" and "/Border/" in name:
            assert operation.input_value(0).get_node().get_type_name() == "Concat", name
            assert operation.input_value(1).get_node().get_type_name() == "Constant", name  # in float
        if kind == "Slice" and "/Border/" in name:
            assert operation.input_value(0).get_node().get_type_name() == "FakeQuantize", name
    layers = rounded_layers(quantised)
    assert {"/fusion/head/Conv/Squares", "/fusion/head_features/conv/Conv/Phases/WithoutBiases"} <= set(layers)
    assert not [one for one in layers if "Border" in one or "Slice" in one]
    got, wanted, true = (core().compile_model(one, "CPU", F32) for one in (quantised, quantise(plain, pixels), exact))
    for one in pixels:
        error = np.abs(got(one)[0] - true(one)[0])
        assert np.ptp(true(one)[0]) > 0.03
        assert error.mean() < 1.5 * np.abs(wanted(one)[0] - true(one)[0]).mean()
        assert error[..., :2, :].mean() < 0.05
    put_back(quantised, half, "/fusion/head_features/conv/Conv/Phases/WithoutBiases")
    core().compile_model(quantised, "CPU", F32)
