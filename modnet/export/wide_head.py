"""A 1×1 convolution to one channel as CPUs compute it fast in 8 bits: several pixels of a row at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8

PIXELS = 16
"""As many output channels as the CPU's matrix instructions compute at once; more were not faster."""


def widen_heads(model: ov.Model) -> int:
    """Rewrites each 1×1 convolution to one channel in place; returns how many there were. The values stay the same.

    Of the channels that a CPU computes at once such a convolution uses one, at every pixel of the image: 7 % of the
    headline network's time in 8 bits. With a kernel and a stride of `PIXELS` along the row it has as many output
    channels, the k-th of which sees the k-th pixel alone. 8-bit convolutions leave a pixel's channels side by side in
    memory, so that they are the row already: putting them in order moves nothing.

    Args:
        model: quantised: widened before, each pixel of `PIXELS` would get a correction of its own. Convolutions of open
            width, or of one that `PIXELS` does not divide, stay.
    """
    widened = 0
    for convolution in model.get_ordered_ops():
        if _is_narrow(convolution):
            name = convolution.get_friendly_name()
            row = _widened(convolution, name)
            convolution.output(0).replace(row.output(0))
            row.set_friendly_name(name)
            widened += 1
    model.validate_nodes_and_infer_types()
    return widened


def _is_narrow(node: ov.Node) -> bool:
    if node.get_type_name() != "Convolution" or _weight(node)[0].get_type_name() != "Constant":
        return False
    outputs, _, *kernel = node.input_value(1).get_shape()
    attributes, width = node.get_attributes(), node.get_output_partial_shape(0)[3]
    is_plain = [attributes[one] for one in ("strides", "pads_begin", "pads_end")] == [[1, 1], [0, 0], [0, 0]]
    is_divisible = width.is_static and width.get_length() % PIXELS == 0
    return outputs == 1 and kernel == [1, 1] and is_plain and is_divisible


def _widened(convolution: ov.Node, name: str) -> ov.Node:
    constant, scale = _weight(convolution)
    weight = opset8.constant(_wide(constant.data))
    if scale is not None:
        weight = opset8.multiply(opset8.convert(weight, "f32"), scale)
    source, step = convolution.input_value(0), [1, PIXELS]
    groups = opset8.convolution(source, weight, step, [0, 0], [0, 0], [1, 1])  # (B, PIXELS, H, W / PIXELS)
    groups.set_friendly_name(f"{name}/Wide")
    pixels_last = opset8.transpose(groups, opset8.constant(np.array([0, 2, 3, 1])))  # (B, H, W / PIXELS, PIXELS)
    rows = opset8.reshape(pixels_last, opset8.constant(np.array([0, 0, -1])), special_zero=True)  # (B, H, W)
    return opset8.unsqueeze(rows, opset8.constant(np.array([1])))


def _weight(convolution: ov.Node) -> tuple[ov.Node, ov.Output | None]:
    """What the weights are constants in, and the scale that makes floats of them where they are of 8 bits."""
    node = convolution.input_value(1).get_node()
    if node.get_type_name() == "Multiply" and node.input_value(0).get_node().get_type_name() == "Convert":
        return node.input_value(0).get_node().input_value(0).get_node(), node.input_value(1)
    return node, None


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """(1, C, 1, 1) → (PIXELS, C, 1, PIXELS)."""
    wide = np.zeros((PIXELS, values.shape[1], 1, PIXELS), values.dtype)
    for pixel in range(PIXELS):
        wide[pixel, :, 0, pixel] = values[0, :, 0, 0]
    return wide
