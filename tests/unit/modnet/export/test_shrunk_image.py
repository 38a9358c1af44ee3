"""An image that a convolution shrinks is the one that resizing gives."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset8, opset11

from modnet.export.merge_norm import merge_norms
from modnet.export.runtime import core
from modnet.export.shrunk_image import shrunk_images_as_convolutions
from modnet.graph_function import TorchGraph

Pixels = list[NDArray[np.float32]]
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def resizing(
    shape: tuple[int, ...], size: tuple[int, int], mode: str = "linear_onnx", is_input: bool = True
) -> ov.Model:
    image = opset8.parameter(shape, np.float32)
    sizes, axes = (opset8.constant(np.array(one)) for one in (size, (2, 3)))
    source = image if is_input else opset8.relu(image)
    resized = opset11.interpolate(source, sizes, mode, "sizes", coordinate_transformation_mode="half_pixel", axes=axes)
    return ov.Model([resized], [image])


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 3, 8, 12), (4, 6)), ((2, 1, 6, 10), (3, 5)), ((1, 3, 12, 4), (3, 1)), ((1, 2, 4, 4), (1, 1))],
)
def test_shrunk_images_as_convolutions_computes_the_same(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    plain, changed = resizing(shape, size), resizing(shape, size)
    assert shrunk_images_as_convolutions(changed) == 1
    assert shrunk_images_as_convolutions(changed) == 0
    wanted, got = (core().compile_model(one, "CPU", F32)(image)[0] for one in (plain, changed))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        resizing((1, 3, 9, 8), (4, 4)),
        resizing((1, 3, 8, 8), (2, 4)),
        resizing((1, 3, 12, 12), (4, 4)),
        resizing((1, 3, 4, 4), (8, 8)),
        resizing((1, 3, 8, 8), (4, 4), mode="nearest"),
        resizing((1, 3, 8, 8), (4, 4), is_input=False),
    ],
    ids=["odd", "two factors", "a third", "doubling", "nearest", "no input"],
)
def test_shrunk_images_as_convolutions_leaves_other_resizing_alone(model: ov.Model) -> None:
    assert shrunk_images_as_convolutions(model) == 0


def test_shrunk_images_as_convolutions_computes_the_network(any_exported, pixels: Pixels) -> None:
    model = core().read_model(Path(any_exported.onnx_path))
    merge_norms(model)
    assert shrunk_images_as_convolutions(model) == 2
    compiled, reference = core().compile_model(model, "CPU", F32), TorchGraph(any_exported.network)
    for one in pixels:
        np.testing.assert_allclose(compiled(one)[0], reference(one), atol=2e-5)
