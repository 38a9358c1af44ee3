"""A head that reads a doubled map, computed at the map's own size: nothing is resized, and vectors are full.

Shapes in comments: B batch; C channels of the map x, H and W its height and width; D channels of y, which lies beside
the doubled map; O outputs of the 3×3 convolution.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8, opset11

from modnet.export.rewriting import rewritten

BORDER = r".*/Border/.*"  # matches the names of everything that is computed for the outermost pixels alone

_END = np.iinfo(np.int32).max


def heads_at_half_size(model: ov.Model) -> int:
    """Rewrites each head of this form in place; returns how many there were.

        1×1 convolution (ReLU (3×3 convolution (concat (x doubled, y))))

    x (B, C, H, W) is doubled bilinearly, corners not aligned; y (B, D, 2H, 2W) has fewer channels than x. There is one
    output channel. No norm lies between: it would need all pixels at once. The head becomes

        beside each other (1×1 convolution (ReLU (3×3 convolution (concat (x, squares of y)))))

    whose channels are the four pixels of a square, see `phase_weights`. It multiplies more, (C + 4 · D) / (C + D)
    times, and takes less time: O = 8 outputs fill half a vector, 4 · O two, and no pass writes the doubled map.

    The outermost two pixels are computed as before, from strips of x and y. The convolution pads the doubled map by
    zeros there, which no padding of x stands for: it would be wrong by up to 0.2. So the values are the same up to
    rounding in float32.

    The model has its constants folded, and batch norms in the convolutions. Heads of open size stay as they are.
    """
    return rewritten(model, _head, _at_half_size)


def read_rounded_strips(model: ov.Model) -> None:
    """Lets strips be cut from what is already in 8 bits, after quantisation; else all of it would be kept in float."""
    for operation in model.get_ops():
        if operation.get_type_name() == "Slice" and re.fullmatch(BORDER, operation.get_friendly_name()):
            readers = [one.get_node() for one in operation.input_value(0).get_target_inputs()]
            if rounded := [one for one in readers if one.get_type_name() == "FakeQuantize"]:
                operation.input(0).replace_source_output(rounded[0].output(0))
    model.validate_nodes_and_infer_types()


def phase_weights(weights: NDArray[Any]) -> NDArray[np.float64]:
    """A convolution of a doubled map as one of the map itself, whose outputs are the four pixels of a square.

    In one dimension, doubled[2i] = ¼ x[i-1] + ¾ x[i] and doubled[2i+1] = ¾ x[i] + ¼ x[i+1]. Neighbours of the result
    read the doubled map from 2i - 1 on, and x from i - 1 on.

    Args:
        weights: (O, C, K, K), K odd.

    Returns:
        (4 · O, C, T, T), T = (K + 3) // 2; outputs by row and column within the square first. The square of x's tap 1
        begins at pixel 2i + (K - 3) // 2 of the doubled map.
    """
    size = weights.shape[-1]
    doubling = np.zeros((size + 1, (size + 3) // 2))  # (positions of the doubled map, taps)
    for position in range(size + 1):
        first = position // 2
        doubling[position, first : first + 2] = (0.25, 0.75) if position % 2 else (0.75, 0.25)
    by_pixel = _by_pixel(doubling)
    phases: NDArray[np.float64] = np.einsum("ocij,pia,qjb->pqocab", weights, by_pixel, by_pixel)  # in float64
    return phases.reshape(-1, *phases.shape[3:])


def _square_weights(weights: NDArray[Any]) -> NDArray[np.float64]:
    """(O, D, 3, 3), a convolution of y, as one of y's squares: (4 · O, 4 · D, 3, 3)."""
    dealing = np.zeros((4, 2, 3))  # (positions of y from the one before a square on, pixels of a square, squares)
    for position in range(4):
        dealing[position, (position - 1) % 2, (position + 1) // 2] = 1
    by_pixel = _by_pixel(dealing)
    outputs, channels = weights.shape[:2]
    squares: NDArray[np.float64] = np.einsum("ocij,pisa,qjtb->pqostcab", weights, by_pixel, by_pixel)
    return squares.reshape(4 * outputs, 4 * channels, 3, 3)


def _by_pixel(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the kernel's taps read for both pixels of a square: (2, K, …) from (K + 1, …)."""
    return np.stack([positions[:-1], positions[1:]])


class _Convolution(NamedTuple):  # of stride 1 with a bias, padded so that the size stays
    source: ov.Node
    name: str
    weights: NDArray[Any]  # (outputs, inputs, K, K)
    bias: NDArray[Any]  # (outputs,)


class _Head(NamedTuple):
    x: ov.Output  # (B, C, H, W)
    y: ov.Output  # (B, D, 2H, 2W)
    first: _Convolution  # (O, C + D, 3, 3)
    last: _Convolution  # (1, O, 1, 1)


def _head(operation: ov.Node) -> _Head | None:
    last = _convolution(operation, 1)
    if last is None or last.weights.shape[0] != 1 or not _is_between(last.source, "Relu"):
        return None
    first = _convolution(last.source.input_value(0).get_node(), 3)
    if first is None or not _is_between(first.source, "Concat") or first.source.get_input_size() != 2:
        return None
    doubled, y = first.source.input_value(0).get_node(), first.source.input_value(1)
    if not _is_between(doubled, "Interpolate") or not _is_doubling(doubled):
        return None
    is_narrower = y.get_partial_shape()[1].get_length() < doubled.get_output_shape(0)[1]
    return _Head(doubled.input_value(0), y, first, last) if is_narrower else None


def _convolution(add: ov.Node, size: int) -> _Convolution | None:
    if add.get_type_name() != "Add" or not _is_between(node := add.input_value(0).get_node(), "Convolution"):
        return None
    weights, bias = (one.get_node() for one in (node.input_value(1), add.input_value(1)))
    if {weights.get_type_name(), bias.get_type_name()} != {"Constant"} or weights.get_output_shape(0)[2:] != [size] * 2:
        return None
    if weights.get_element_type() != ov.Type.f32:  # the new constants would not go with its sums
        return None
    given = node.get_attributes()
    plain = {"strides": [1, 1], "dilations": [1, 1], "pads_begin": [size // 2] * 2, "pads_end": [size // 2] * 2}
    if any(list(given[name]) != wanted for name, wanted in plain.items()) or bias.data.size != weights.data.shape[0]:
        return None
    return _Convolution(node.input_value(0).get_node(), add.get_friendly_name(), weights.data, bias.data.reshape(-1))


def _is_between(node: ov.Node, kind: str) -> bool:
    """Whether it is of this kind and has one reader alone."""
    return node.get_type_name() == kind and len(node.output(0).get_target_inputs()) == 1


def _is_doubling(resize: ov.Node) -> bool:
    """Bilinear, corners not aligned, to twice a fixed size of at least 3 × 3."""
    given = resize.get_attributes()
    shapes = resize.get_input_partial_shape(0), resize.get_output_partial_shape(0)
    if any(shape.is_dynamic for shape in shapes):
        return False
    before, after = (list(shape.to_shape()) for shape in shapes)
    is_linear = given["mode"] in ("linear", "linear_onnx") and given["coordinate_transformation_mode"] == "half_pixel"
    return is_linear and after == [*before[:2], 2 * before[2], 2 * before[3]] and min(before[2:]) >= 3


def _at_half_size(operation: ov.Node, head: _Head) -> ov.Node:
    name, (x, y, first, last) = operation.get_friendly_name(), head
    channels, beside = (source.get_partial_shape()[1].get_length() for source in (x, y))
    deal = np.eye(4 * beside).reshape(-1, 2, 2, beside).transpose(0, 3, 1, 2)  # (4 · D, D, 2, 2)
    squares = opset8.convolution(y, _constant(deal), [2, 2], [0, 0], [0, 0], [1, 1])  # (B, 4 · D, H, W)
    squares.set_friendly_name(f"{name}/Squares")
    both = opset8.concat([x, squares], 1)  # (B, C + 4 · D, H, W)

    weights = phase_weights(first.weights[:, :channels]), _square_weights(first.weights[:, channels:])
    phases = _convolved(both, np.concatenate(weights, axis=1), np.tile(first.bias, 4), f"{first.name}/Phases")
    each = np.kron(np.eye(4), last.weights[:, :, 0, 0])[:, :, None, None]  # (4, 4 · O, 1, 1)
    values = _convolved(opset8.relu(phases), each, np.tile(last.bias, 4), f"{name}/Phases")  # (B, 4, H - 2, W - 2)
    inner = _beside_each_other(values)  # (B, 1, 2H - 4, 2W - 4)

    def border(axis: int, side: str) -> ov.Node:
        """(B, 1, 2, 2W) along axis 2, (B, 1, 2H - 4, 2) along axis 3."""
        ends = {size: (0, size) if side in ("Top", "Left") else (-size, _END) for size in (2, 4)}
        of_x, of_y = _cut(x, {axis: ends[2]}), _cut(y, {axis: ends[4]})
        doubled = _doubled(of_x)
        for node, role in ((of_x, "Map"), (of_y, "Beside"), (doubled, "Doubled")):
            node.set_friendly_name(f"{first.name}/Border/{side}/{role}")
        strip = opset8.concat([doubled, of_y], 1)
        features = opset8.relu(_convolved(strip, first.weights, first.bias, f"{first.name}/Border/{side}", padding=1))
        result = _convolved(features, last.weights, last.bias, f"{name}/Border/{side}")
        return _cut(result, {2: ends[2]} if axis == 2 else {2: (2, -2), 3: ends[2]})

    rows = opset8.concat([border(3, "Left"), inner, border(3, "Right")], 3)  # (B, 1, 2H - 4, 2W)
    return opset8.concat([border(2, "Top"), rows, border(2, "Bottom")], 2)  # (B, 1, 2H, 2W)


def _beside_each_other(values: ov.Node) -> ov.Node:
    """(B, 4, h, w) → (B, 1, 2h, 2w). The CPU plugin's DepthToSpace takes several times as long."""
    sides = opset8.gather(opset8.shape_of(values), np.array([2, 3]), np.array(0))  # which compiling makes constants
    squares = opset8.reshape(values, opset8.concat([np.array([-1, 2, 2]), sides], 0), False)
    turned = opset8.transpose(squares, np.array([0, 3, 1, 4, 2]))  # (B, h, 2, w, 2)
    doubled = opset8.multiply(sides, np.array([2, 2]))
    return opset8.reshape(turned, opset8.concat([np.array([-1, 1]), doubled], 0), False)


def _convolved(source: ov.Node, weights: NDArray[Any], bias: NDArray[Any], name: str, *, padding: int = 0) -> ov.Node:
    convolution = opset8.convolution(source, _constant(weights), [1, 1], [padding] * 2, [padding] * 2, [1, 1])
    convolution.set_friendly_name(f"{name}/WithoutBiases")
    result = opset8.add(convolution, _constant(bias.reshape(1, -1, 1, 1)))
    result.set_friendly_name(name)
    return result


def _doubled(source: ov.Node) -> ov.Node:
    scales, axes = opset8.constant(np.array([2, 2], np.float32)), opset8.constant(np.array([2, 3]))
    return opset11.interpolate(
        source, scales, "linear_onnx", "scales", coordinate_transformation_mode="half_pixel", axes=axes
    )


def _cut(source: ov.Node | ov.Output, ranges: Mapping[int, tuple[int, int]]) -> ov.Node:
    """What is within a range of each of these axes; numbers below 0 count from the end."""
    starts, stops = zip(*ranges.values(), strict=True)
    return opset8.slice(source, *(np.array(one) for one in (starts, stops, [1] * len(ranges), list(ranges))))


def _constant(values: NDArray[Any]) -> ov.Node:
    return opset8.constant(np.ascontiguousarray(values, dtype=np.float32))
