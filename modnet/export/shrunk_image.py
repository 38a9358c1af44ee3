"""The image at half or a quarter of its size as CPUs compute it fast in 8 bits: by a convolution."""

import numpy as np
import openvino as ov
from openvino import opset8

from modnet.export.rewriting import rewritten


def shrunk_images_as_convolutions(model: ov.Model) -> int:
    """Rewrites each bilinear resizing of an input to 1/2 or 1/4 in place; returns how many there were.

    Before quantisation only. A pixel of the result is the mean of the two by two pixels in the middle of those that it
    stands for, without exception at the edges. As a convolution this reads and writes bytes; resizing would read
    floats, whose channels have to be put side by side first. In float32 nothing is gained.

    The model has its constants folded. Inputs of open size stay as they are.
    """
    return rewritten(model, _factor, _as_convolution)


def _as_convolution(operation: ov.Node, factor: int) -> ov.Node:
    channels = operation.get_output_shape(0)[1]
    middle = slice(factor // 2 - 1, factor // 2 + 1)
    weights = np.zeros((channels, channels, factor, factor), np.float32)
    weights[range(channels), range(channels), middle, middle] = 1 / 4
    source, strides = operation.input_value(0), [factor, factor]
    return opset8.convolution(source, opset8.constant(weights), strides, [0, 0], [0, 0], [1, 1])


def _factor(operation: ov.Node) -> int | None:
    """How many times smaller an input becomes, 2 or 4; None where this is not what is computed."""
    if operation.get_type_name() != "Interpolate" or operation.input_value(0).get_node().get_type_name() != "Parameter":
        return None
    given = operation.get_attributes()
    shapes = operation.get_input_partial_shape(0), operation.get_output_partial_shape(0)
    is_linear = given["mode"] in ("linear", "linear_onnx") and given["coordinate_transformation_mode"] == "half_pixel"
    if not is_linear or given["antialias"] or any(shape.is_dynamic for shape in shapes):
        return None
    before, after = (list(shape.to_shape()) for shape in shapes)
    sizes = {factor: [*before[:2], *(size // factor for size in before[2:])] for factor in (2, 4)}
    exact = [one for one in sizes if after == sizes[one] and not any(size % one for size in before[2:])]
    return exact[0] if exact else None
