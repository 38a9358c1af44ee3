"""IBNorm as CPUs compute it fast: over all channels at once, without taking them apart and putting them together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8
from openvino.passes import ConstantFolding, Manager

NORMS = r".*/norm/.*"
"""Matches the names of everything that a norm layer computes, merged or not."""


class _Halves(NamedTuple):
    """What the two halves of one IBNorm read and multiply by; batch norm as scale · x + shift."""

    source: ov.Output
    scale: NDArray[np.float32]  # (batch channels,)
    shift: NDArray[np.float32]  # (batch channels,)
    mvn: ov.Node


def merge_norms(model: ov.Model) -> int:
    """Rewrites each IBNorm of a graph read from ONNX in place; returns how many there were of both kinds of channels.

    concat(scale · x[:b] + shift, MVN(x[b:])) becomes

        scale₀ · x + shift₀ + is_instance · MVN(x),

    where scale₀ and shift₀ are 0 and is_instance is 1 in the channels of the instance norm. Half of MVN's work is
    thrown away, which costs less than copying the halves: the CPU plugin keeps a pixel's channels together, so slicing
    and concatenating move a few bytes at a time, while the sum is one pass that ends in the ReLU and the rounding to 8
    bits. The values are the same up to rounding in float32.

    Scale and shift of a parameterless instance norm, which ONNX cannot leave out, are dropped everywhere. Constants are
    folded on the way: nncf quantises weights only where they are constants, and those of depthwise convolutions are
    reshaped ones in a graph as read.
    """
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "MVN":
            _drop_identity(operation)
    merged = 0
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Concat" and (halves := _halves(operation)) is not None:
            name = operation.get_friendly_name()
            result = _merged(halves, name)
            operation.output(0).replace(result.output(0))
            result.set_friendly_name(name)
            merged += 1
    model.validate_nodes_and_infer_types()
    return merged


def _drop_identity(mvn: ov.Node) -> None:
    """Removes a multiplication by ones and an addition of zeros behind a norm, and names the norm after them."""
    last = mvn
    for kind, neutral in (("Multiply", 1), ("Add", 0)):
        consumers = [one.get_node() for one in last.output(0).get_target_inputs()]
        if len(consumers) != 1 or consumers[0].get_type_name() != kind:
            return
        constant = consumers[0].input_value(1).get_node()
        if constant.get_type_name() != "Constant" or not (constant.data == neutral).all():
            return
        last = consumers[0]
    last.output(0).replace(mvn.output(0))
    mvn.set_friendly_name(last.get_friendly_name())


def _halves(concat: ov.Node) -> _Halves | None:
    """The halves that a Concat puts together; None unless they are the first and the other channels of one tensor."""
    if [concat.input_value(i).get_node().get_type_name() for i in range(concat.get_input_size())] != [
        "BatchNormInference",
        "MVN",
    ]:
        return None
    batch, mvn = (concat.input_value(i).get_node() for i in range(2))
    first, second = (half.input_value(0).get_node() for half in (batch, mvn))
    if first.get_type_name() != "Slice" or second.get_type_name() != "Slice":
        return None
    if first.input_value(0) != second.input_value(0):
        return None
    weight, bias, mean, variance = (_constant(batch, i).astype(np.float64) for i in range(1, 5))
    channels, total = weight.size, first.input_value(0).get_partial_shape()[1].get_length()
    if _range(first, total) != (0, channels) or _range(second, total) != (channels, total):
        return None
    scale = weight / np.sqrt(variance + batch.get_attributes()["epsilon"])
    return _Halves(first.input_value(0), scale.astype(np.float32), (bias - mean * scale).astype(np.float32), mvn)


def _range(cut: ov.Node, total: int) -> tuple[int, int] | None:
    """First and past the last channel that a Slice takes; None when it is along other axes or has a step."""
    start, stop, step, axes = (_constant(cut, i).tolist() for i in range(1, 5))
    return (start[0], min(stop[0], total)) if (step, axes) == ([1], [1]) else None


def _merged(halves: _Halves, name: str) -> ov.Node:
    source, mvn = halves.source, halves.mvn
    channels = source.get_partial_shape()[1].get_length()
    rest = np.zeros(channels - halves.scale.size, np.float32)

    def by_channel(batch: NDArray[np.float32], instance: NDArray[np.float32]) -> ov.Node:
        return opset8.constant(np.concatenate((batch, instance)).reshape(1, channels, 1, 1))

    attributes = mvn.get_attributes()
    whole = opset8.mvn(source, mvn.input_value(1), True, attributes["eps"], attributes["eps_mode"].lower())
    instance = opset8.multiply(whole, by_channel(np.zeros_like(halves.scale), rest + 1))
    scaled = opset8.multiply(source, by_channel(halves.scale, rest))
    batch = opset8.add(scaled, by_channel(halves.shift, rest))
    for node, role in ((whole, "MVN"), (instance, "Instance"), (scaled, "Scale"), (batch, "Batch")):
        node.set_friendly_name(f"{name}/{role}")
    return opset8.add(instance, batch)


def _constant(node: ov.Node, index: int) -> NDArray[np.generic]:
    values: NDArray[np.generic] = node.input_value(index).get_node().data
    return values
