"""An IR can be given another height and width: it computes what one of that size computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset8, opset11

from modnet.errors import GraphError
from modnet.export.input_size import resize_by_scales
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.targets import Shape, Target
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.mark.parametrize("target", ["cpu-fp32", "cpu-fp16"])
def test_a_turned_ir_computes_what_one_exported_in_that_shape_does(target: Target, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, irs = MODNet(ModnetSpec.tiny()), []
    for size in ((96, 64), (64, 96)):
        onnx = export_onnx(network, tmp_path / f"x{size[0]}.onnx", size=size)
        irs.append(convert_ir(onnx, tmp_path / "irs", targets=(target,), size=size)[target].xml)
    turned, exported = OpenvinoGraph(irs[0], shape=(64, 96)), OpenvinoGraph(irs[1])
    assert turned.shape == (64, 96)
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 96)).astype(np.float32)
    np.testing.assert_array_equal(turned(pixels), exported(pixels))
    assert turned(pixels).std() > 0


@pytest.mark.parametrize("other", [(64, 96), (192, 128)], ids=["turned", "larger"])
def test_an_int8_ir_in_another_shape_is_as_near_to_float_as_the_stored_one(other: Shape, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    onnx = export_onnx(MODNet(ModnetSpec.tiny()), tmp_path / "x.onnx", size=(96, 64))
    pixels = [generator.uniform(-1, 1, (1, 3, 96, 64)).astype(np.float32) for _ in range(4)]
    made = convert_ir(onnx, tmp_path / "irs", targets=("cpu-fp32", "cpu-int8"), calibration=pixels, size=(96, 64))
    away = {}
    for shape in ((96, 64), other):
        float_, int8 = (OpenvinoGraph(made[target].xml, shape=shape) for target in ("cpu-fp32", "cpu-int8"))
        given = np.resize(pixels[0], (1, 3, *shape))
        away[shape] = np.abs(float_(given) - int8(given)).mean()
    assert away[other] < 2 * away[96, 64] + 1e-3


@pytest.mark.parametrize(("size", "count"), [([16, 24], 1), ([4, 6], 1), ([8, 36], 1), ([12, 12], 0)])
def test_whole_factors_become_scales_and_others_stay(size: list[int], count: int) -> None:
    image = opset8.parameter([1, 3, 8, 12], np.float32)
    resized = opset11.interpolate(
        image,
        opset8.constant(np.array(size)),
        "linear_onnx",
        "sizes",
        coordinate_transformation_mode="half_pixel",
        axes=opset8.constant(np.array([2, 3])),
    )
    model = ov.Model([resized], [image])
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 12)).astype(np.float32)
    before = ov.compile_model(model, "CPU")(pixels)[0]
    assert resize_by_scales(model) == count
    np.testing.assert_array_equal(ov.compile_model(model, "CPU")(pixels)[0], before)


def test_a_graph_whose_sizes_are_fixed_is_not_turned(tmp_path: Path) -> None:
    image = opset8.parameter([1, 3, 8, 12], np.float32)
    shaped = opset8.add(image, opset8.constant(np.ones((1, 3, 8, 12), np.float32)))
    ov.save_model(ov.Model([shaped], [image]), tmp_path / "fixed.xml")
    with pytest.raises(GraphError, match=r"fixed\.xml is of 8×12 pixels and cannot read 12×8"):
        OpenvinoGraph(tmp_path / "fixed.xml", shape=(12, 8))
