"""A convolution to one channel as CPUs compute it fast in 8 bits: as a product of matrices."""

import openvino as ov
from openvino import opset8

from modnet.export.rewriting import rewritten


def narrow_convolutions_as_products(model: ov.Model) -> int:
    """Rewrites each 1×1 convolution to a single channel in place; returns how many there were.

    Before quantisation only. The CPU plugin's 8-bit convolution computes 16 output channels where one is wanted: at
    512×512 the head takes longer than the 3×3 convolution before it. As a product of the pixels (H · W, C) and a column
    (C, 1) it takes a third of that, and a pixel's channels already lie side by side, so that nothing is copied. In
    float32 the product is the slower of the two.

    A bias stays where it is, behind the way back to channels first. Directly behind the product, where nncf would
    correct it, the plugin adds it in the product, by a kernel as slow as the convolution.
    """
    return rewritten(model, _is_narrow, _as_product)


def _as_product(convolution: ov.Node, _: bool) -> ov.Node:
    name = convolution.get_friendly_name()
    column = convolution.input_value(1).get_node().data.reshape(1, -1)  # (1, C), transposed in the product
    pixels = opset8.transpose(convolution.input_value(0), [0, 2, 3, 1])  # (B, H, W, C)
    product = opset8.matmul(pixels, opset8.constant(column), False, True)  # (B, H, W, 1)
    for node, role in ((pixels, "Pixels"), (product, "Product")):
        node.set_friendly_name(f"{name}/{role}")
    return opset8.transpose(product, [0, 3, 1, 2])  # (B, 1, H, W)


def _is_narrow(operation: ov.Node) -> bool:
    if operation.get_type_name() != "Convolution" or operation.input_value(1).get_node().get_type_name() != "Constant":
        return False
    kernel, attributes = list(operation.input_value(1).get_shape()), operation.get_attributes()
    is_plain = set(attributes["strides"]) == {1} and not any([*attributes["pads_begin"], *attributes["pads_end"]])
    return kernel[0] == 1 and kernel[2:] == [1, 1] and is_plain
