"""Instance norm as CPUs compute it fast between 8-bit layers: by two sums, and one multiplication and subtraction.

Shapes in comments: B batch, C channels, H and W height and width of the map x.
"""

from typing import NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8

from modnet.export.rewriting import put_in_place


class _Norm(NamedTuple):
    mvn: ov.Node
    last: ov.Node  # whose value is to be computed: of IBNorm the sum of both kinds of channels
    is_instance: NDArray[np.float32]  # 1 for channels that are normalised, 0 for those that are passed on: (C,)


def norms_by_sums(model: ov.Model) -> int:
    """Rewrites each instance norm of fixed size in place, merged (`merge_norms`) or alone; returns how many there were.

        is_batch · x + is_instance · MVN(x)  =  x · (is_batch + scale) - mean(x) · scale,
        scale = is_instance / √(mean(x²) - mean(x)² + ε)

    MVN goes through its floats three times, by a kernel that waits for one addition before the next, and writes them
    for the pass behind it to read. Each reduction takes a fifth of that, and the pass behind reads x alone.

    Before quantisation only. The variance loses digits where the mean is large against the deviation, ten times as many
    as MVN's. Rounding to 8 bits loses many more; a float32 form keeps MVN.
    """
    found = [norm for operation in model.get_ordered_ops() if (norm := _norm(operation)) is not None]
    for norm in found:
        put_in_place(norm.last, _by_sums(norm, norm.last.get_friendly_name()))
    model.validate_nodes_and_infer_types()
    return len(found)


def _norm(mvn: ov.Node) -> _Norm | None:
    """The norm that an MVN computes, or is half of; None where it is none over all pixels of a map of fixed size."""
    if mvn.get_type_name() != "MVN" or mvn.get_input_partial_shape(0).is_dynamic:
        return None
    attributes, axes = mvn.get_attributes(), mvn.input_value(1).get_node()
    is_plain = attributes["normalize_variance"] and attributes["eps_mode"].lower() == "inside_sqrt"
    if not is_plain or axes.get_type_name() != "Constant" or sorted(axes.data.tolist()) != [2, 3]:
        return None
    return _merged(mvn) or _Norm(mvn, mvn, np.ones(mvn.get_input_shape(0)[1], np.float32))


def _merged(mvn: ov.Node) -> _Norm | None:
    """is_batch · x + is_instance · MVN(x), as `merge_norms` writes it."""
    instance = _only_reader(mvn, "Multiply")
    add = None if instance is None else _only_reader(instance, "Add")
    if instance is None or add is None:
        return None
    batch = add.input_value(1).get_node()
    if batch.get_type_name() != "Multiply" or batch.input_value(0) != mvn.input_value(0):
        return None
    masks = [one.input_value(1).get_node() for one in (instance, batch)]
    if any(mask.get_type_name() != "Constant" for mask in masks):
        return None
    is_instance, is_batch = (mask.data.reshape(-1) for mask in masks)
    is_split = np.isin(is_instance, (0, 1)).all() and np.array_equal(is_batch, 1 - is_instance)
    return _Norm(mvn, add, is_instance) if is_split else None


def _only_reader(node: ov.Node, kind: str) -> ov.Node | None:
    readers = [one.get_node() for one in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 and readers[0].get_type_name() == kind else None


def _by_sums(norm: _Norm, name: str) -> ov.Node:
    x, is_instance = norm.mvn.input_value(0), norm.is_instance
    channels = x.get_shape()[1]
    axes = opset8.constant(np.array([2, 3]))

    def named(role: str, node: ov.Node) -> ov.Node:
        node.set_friendly_name(f"{name}/{role}")
        return node

    def by_channel(role: str, node: ov.Node, *shape: int) -> ov.Node:
        return named(role, opset8.reshape(node, np.array([-1, channels, *shape]), False))

    # An IR may be given another height and width. Compiling makes a constant of it.
    size = named("Size", opset8.shape_of(x))
    sides = named("Sides", opset8.gather(size, np.array([2, 3]), np.array(0)))
    count = named("Count", opset8.reduce_prod(sides, opset8.constant(np.array([0])), False))
    pixels = named("Pixels", opset8.convert(count, "f32"))
    # (B, C, 1, 1) → (B, C) and back: else the plugin computes root and division anew at every pixel, in the last pass.
    mean = by_channel("MeanByChannel", named("Mean", opset8.reduce_mean(x, axes, True)))
    root = by_channel("RootByChannel", named("Root", opset8.reduce_l2(x, axes, True)))  # √Σx²
    square = named("Square", opset8.multiply(root, root))
    mean_square = named("MeanSquare", opset8.divide(square, pixels))
    squared_mean = named("SquaredMean", opset8.multiply(mean, mean))
    difference = named("Difference", opset8.subtract(mean_square, squared_mean))
    variance = named("Variance", opset8.maximum(difference, _constant(0.0)))  # lost digits can make it negative
    shifted = named("Shifted", opset8.add(variance, _constant(norm.mvn.get_attributes()["eps"])))
    instance = named("Instance", opset8.divide(_constant(is_instance[None]), named("Deviation", opset8.sqrt(shifted))))
    both = named("ScaleByChannel", opset8.add(instance, _constant(1 - is_instance[None])))
    offset = named("OffsetByChannel", opset8.multiply(mean, instance))
    scaled = named("Scaled", opset8.multiply(x, by_channel("Scale", both, 1, 1)))  # (B, C, H, W)
    return opset8.subtract(scaled, by_channel("Offset", offset, 1, 1))


def _constant(values: float | NDArray[np.float32]) -> ov.Node:
    return opset8.constant(np.asarray(values, np.float32))
