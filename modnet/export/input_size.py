"""Sizes within a graph that follow its input: an IR can be given another height and width without a new export."""

import openvino as ov
from openvino import opset8, opset11

from modnet.export.rewriting import rewritten

_KEPT = ("coordinate_transformation_mode", "nearest_mode", "antialias", "pads_begin", "pads_end", "cube_coeff")
"""Attributes of Interpolate that stay as they are."""


def resize_by_scales(model: ov.Model) -> int:
    """Rewrites each resizing to a fixed size in place as one by factors; returns how many there were.

    `torch.onnx.export` writes the sizes that it met, as [60, 40]. Where both sides grow or shrink by whole factors the
    values are the same, and `ov.Model.reshape` can give the input another size. Others stay as they are. The model has
    its constants folded.
    """
    return rewritten(model, _scales, _by_scales)


def _by_scales(operation: ov.Node, scales: list[float]) -> ov.Node:
    given = operation.get_attributes()
    return opset11.interpolate(
        operation.input_value(0),
        opset8.constant(scales, ov.Type.f32),
        given["mode"],
        "scales",
        axes=operation.input_value(2),
        **{name: given[name] for name in _KEPT},
    )


def _scales(operation: ov.Node) -> list[float] | None:
    """What each axis of an Interpolate to fixed sizes is multiplied by; None where that is no whole factor."""
    if operation.get_type_name() != "Interpolate" or operation.get_input_size() != 3:
        return None
    if operation.get_attributes()["shape_calculation_mode"] != "sizes":
        return None
    sizes, axes = (operation.input_value(index).get_node() for index in (1, 2))
    if {sizes.get_type_name(), axes.get_type_name()} != {"Constant"} or operation.get_input_partial_shape(0).is_dynamic:
        return None
    before = list(operation.get_input_shape(0))
    pairs = [(before[axis], size) for axis, size in zip(axes.data.tolist(), sizes.data.tolist(), strict=True)]
    if any(large % small for large, small in (sorted(pair, reverse=True) for pair in pairs)):
        return None
    return [after / size for size, after in pairs]
