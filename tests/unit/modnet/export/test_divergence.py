"""The layer that was changed is the layer that is named."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from modnet.export.divergence import _layer_of, _outputs, first_divergence
from modnet.export.onnx_to_openvino import convert_ir
from modnet.network import folded
from modnet.targets import InputFormat, Target

Pixels = list[NDArray[np.float32]]


@pytest.mark.parametrize("target", ["cpu-fp32", "cpu-fp16", "ncs2-fp16"])
@pytest.mark.parametrize("input_format", ["float-nchw", "uint8-nhwc"])
def test_first_divergence_is_none_when_only_weights_are_rounded(
    exported, pixels: Pixels, tmp_path: Path, target: Target, input_format: InputFormat
) -> None:
    ir = convert_ir(exported.onnx_path, tmp_path, targets=[target], input_format=input_format)[target]
    assert first_divergence(exported.network, ir.xml, pixels) is None


@pytest.mark.parametrize(
    "layer",
    ["backbone.stem.conv", "semantic.squeeze_excite.excite", "backbone.blocks.2.depthwise.conv", "detail.hr4x.1.conv"],
)
def test_first_divergence_names_the_layer_whose_weights_are_others(
    exported, pixels: Pixels, tmp_path: Path, layer: str
) -> None:
    other = copy.deepcopy(exported.network)
    with torch.no_grad():
        other.get_submodule(layer).weight.mul_(1.2)
    assert first_divergence(other, exported.onnx_path, pixels) == layer
    ir = convert_ir(exported.onnx_path, tmp_path, targets=["ncs2-fp16"])["ncs2-fp16"]
    assert first_divergence(other, ir.xml, pixels[1:]) == layer


def test_first_divergence_knows_every_layer_of_the_graph_by_name(exported, pixels: Pixels) -> None:
    graph = onnx.load(exported.onnx_path).graph
    computing = [node.name for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert [_layer_of(name) for name in computing] == list(_outputs(folded(exported.network), pixels[0]))
