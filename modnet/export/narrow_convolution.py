"""A convolution to one channel as CPUs compute it fast in 8 bits: as a product of matrices."""

from __future__ import annotations

import openvino as ov
from openvino import opset8


def narrow_convolutions_as_products(model: ov.Model) -> int:
    """Rewrites each 1×1 convolution to a single channel in place; returns how many there were.

    Before quantisation only. The CPU plugin's 8-bit convolution computes 16 output channels where one is wanted: at
    512×512 the head takes longer than the 3×3 convolution before it. As a product of the pixels (H · W, C) and a column
    (C, 1) it takes a third of that, and a pixel's channels already lie side by side, so that nothing is copied. In
    float32 the product is the slower of the two.

    A bias is added right behind the product: nncf corrects it only there.
    """
    rewritten = 0
    for operation in model.get_ordered_ops():
        if _is_narrow(operation):
            _rewrite(operation)
            rewritten += 1
    model.validate_nodes_and_infer_types()
    return rewritten


def _is_narrow(operation: ov.Node) -> bool:
    if operation.get_type_name() != "Convolution" or not _is_constant(operation.input_value(1)):
        return False
    kernel, attributes = list(operation.input_value(1).get_shape()), operation.get_attributes()
    is_plain = set(attributes["strides"]) == {1} and not any([*attributes["pads_begin"], *attributes["pads_end"]])
    return kernel[0] == 1 and kernel[2:] == [1, 1] and is_plain


def _rewrite(convolution: ov.Node) -> None:
    name, last = convolution.get_friendly_name(), convolution
    column = opset8.constant(convolution.input_value(1).get_node().data.reshape(1, -1))  # (1, C)
    pixels = opset8.transpose(convolution.input_value(0), [0, 2, 3, 1])  # (B, H, W, C)
    pixels.set_friendly_name(f"{name}/Pixels")
    result = opset8.matmul(pixels, column, False, True)  # (B, H, W, 1)
    result.set_friendly_name(f"{name}/Product")
    readers = [reader.get_node() for reader in convolution.output(0).get_target_inputs()]
    if len(readers) == 1 and readers[0].get_type_name() == "Add" and _is_constant(readers[0].input_value(1)):
        last = readers[0]
        result = opset8.add(result, last.input_value(1))  # (1, 1, 1, 1), the same in either order of axes
        result.set_friendly_name(f"{last.get_friendly_name()}/Bias")
    matte = opset8.transpose(result, [0, 3, 1, 2])  # (B, 1, H, W)
    last.output(0).replace(matte.output(0))
    matte.set_friendly_name(last.get_friendly_name())


def _is_constant(source: ov.Output) -> bool:
    return bool(source.get_node().get_type_name() == "Constant")
