"""Today's graph in yesterday's operations, for runtimes that know no newer ones.

What the ONNX reader of OpenVINO 2026.4 makes of MODNet needs Slice-8 and Interpolate-11, and 2021.4.2 and 2022.3.2 read
neither. Everything here changes a model of fixed input size in place, before its first compilation.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset1 as opset1
import openvino.opset11 as opset11
from numpy.typing import NDArray
from openvino.passes import ConstantFolding, Manager
from openvino.utils.node_factory import NodeFactory

from modnet.errors import LoweringError
from modnet.export.safe_norm import safe_instance_norm

Node = Any


def lower(model: ov.Model, *, opset_ceiling: int, has_safe_norm: bool) -> None:
    """Rewrites `model`, of fixed input size, in operations of opsets 1 to `opset_ceiling`; it computes the same.

    Args:
        opset_ceiling: newest opset allowed, at least 6.
        has_safe_norm: instance norms become `safe_instance_norm`.

    Raises:
        LoweringError: an operation cannot be lowered; names it.
    """
    fold_constants(model)
    _replace(model, "Slice", _strided_slice)
    _replace(model, "Interpolate", _interpolate_4)
    if has_safe_norm:
        _replace(model, "MVN", _safe_norm)
    fold_constants(model)
    require_opset(model, opset_ceiling)


def require_opset(model: ov.Model, ceiling: int) -> None:
    """Refuses operations newer than opset `ceiling`, and those of no public opset.

    Raises:
        LoweringError: names each kind with its opset and one operation of it.
    """
    found: dict[str, str] = {}
    for node in model.get_ops():
        opset = node.get_type_info().version_id
        number = re.fullmatch(r"opset(\d+)", opset)
        if number is None or int(number.group(1)) > ceiling:
            found.setdefault(f"{node.get_type_name()} of {opset}", node.get_friendly_name())
    if found:
        listing = ", ".join(f"{kind} ({name!r})" for kind, name in sorted(found.items()))
        raise LoweringError(f"the graph needs {listing}, but the target's runtimes read opsets 1 to {ceiling} only")


def fold_constants(model: ov.Model) -> None:
    """Computes what does not depend on the input, shapes included where they are fixed.

    Resizes are told height and width alone: folded sizes of all axes would hold the batch as well, and the graph could
    not be reshaped to another one.
    """
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    _replace(model, "Interpolate", _resize_of_plane)
    model.validate_nodes_and_infer_types()


def _replace(model: ov.Model, kind: str, make: Callable[[Node], Node]) -> None:
    for node in model.get_ordered_ops():
        if node.get_type_name() == kind and (new := make(node)) is not node:
            for reader in node.output(0).get_target_inputs():
                reader.replace_source_output(new.output(0))
            new.set_friendly_name(node.get_friendly_name())


def _strided_slice(node: Node) -> Node:
    """Slice-8 → StridedSlice-1 over all axes; begin and end beyond the ends mean the ends in both."""
    shape = _fixed_shape(node)
    starts, stops, steps = (_constant(node, index).tolist() for index in (1, 2, 3))
    axes = _constant(node, 4).tolist() if node.get_input_size() > 4 else range(len(starts))
    begin, end, stride = [0] * len(shape), [0] * len(shape), [1] * len(shape)
    is_whole = [1] * len(shape)
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        if step < 1:
            raise _refusal(node, f"got a slice of step {step}, wanted 1 or more")
        size = shape[axis]
        begin[axis], end[axis] = (min(at + size if at < 0 else at, size) for at in (start, stop))
        stride[axis], is_whole[axis] = step, 0
    bounds = [opset1.constant(np.array(values, np.int64)) for values in (begin, end, stride)]
    return opset1.strided_slice(node.input_value(0), *bounds, begin_mask=is_whole, end_mask=is_whole)


def _resize_of_plane(node: Node) -> Node:
    """An Interpolate-11 to constant sizes of all four axes, to those of the last two; any other node as it is."""
    given = node.get_attributes()
    sizes = node.input_value(1).get_node()
    if given["shape_calculation_mode"] != "sizes" or sizes.get_type_name() != "Constant" or sizes.get_data().size != 4:
        return node
    return opset11.interpolate(
        node.input_value(0),
        opset11.constant(sizes.get_data()[2:]),
        axes=opset11.constant(np.array([2, 3], np.int64)),
        **given,
    )


def _interpolate_4(node: Node) -> Node:
    """Interpolate-11 → Interpolate-4 in `sizes` mode: with `scales`, FP16 weights break OpenVINO 2021.4.2."""
    given = node.get_attributes()
    if given["mode"] not in ("nearest", "linear", "linear_onnx", "cubic"):
        raise _refusal(node, f"opset 4 interpolates by nearest, linear, linear_onnx or cubic, got {given['mode']}")
    before, after = _fixed_shape(node), tuple(node.get_output_shape(0))
    axes = [axis for axis in range(len(before)) if axis >= 2]
    sizes = np.array([after[axis] for axis in axes], np.int64)
    scales = np.array([after[axis] / before[axis] for axis in axes], np.float32)
    kept = ("mode", "coordinate_transformation_mode", "nearest_mode", "antialias", "cube_coeff")
    attributes = {name: given[name] for name in kept} | {"shape_calculation_mode": "sizes"}
    attributes |= {"pads_begin": [0] * len(before), "pads_end": [0] * len(before)}
    constants = [opset1.constant(values) for values in (sizes, scales, np.array(axes, np.int64))]
    inputs = [node.input_value(0), *(constant.output(0) for constant in constants)]
    return NodeFactory("opset4").create("Interpolate", inputs, attributes)


def _safe_norm(node: Node) -> Node:
    attributes = node.get_attributes()
    axes = sorted(axis % 4 for axis in _constant(node, 1).tolist())
    if axes != [2, 3] or not attributes["normalize_variance"] or str(attributes["eps_mode"]).lower() != "inside_sqrt":
        wanted = "wanted an instance norm over height and width with its epsilon inside the root"
        raise _refusal(node, f"{wanted}, got axes {axes} and {attributes}")
    return safe_instance_norm(node.input_value(0), float(attributes["eps"]))


def _fixed_shape(node: Node) -> tuple[int, ...]:
    shape = node.get_input_partial_shape(0)
    if shape.is_dynamic:
        raise _refusal(node, f"wanted a fixed input size, got {shape}")
    return tuple(shape.to_shape())


def _constant(node: Node, index: int) -> NDArray[Any]:
    constant = node.input_value(index).get_node()
    if constant.get_type_name() != "Constant":
        raise _refusal(node, f"its input {index} is computed ({constant.get_type_name()})")
    data: NDArray[Any] = constant.get_data()
    return data


def _refusal(node: Node, why: str) -> LoweringError:
    return LoweringError(f"cannot lower {node.get_friendly_name()!r}: {why}")
