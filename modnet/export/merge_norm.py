"""IBNorm as CPUs compute it fast: over all channels at once, without taking them apart and putting them together."""

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset8

from modnet.export.legacy_ir import fold_constants
from modnet.export.rewriting import rewritten

NORMS = r".*/norm/.*"  # matches the names of everything that a norm layer computes, merged or not


def merge_norms(model: ov.Model) -> int:
    """Rewrites each IBNorm of a graph read from ONNX in place; returns how many there were of both kinds of channels.

    concat(x[:b], MVN(x[b:])), whose batch norm is part of the convolution before it, becomes

        is_batch · x + is_instance · MVN(x),

    with 1 and 0 by channel. Half of MVN's work is thrown away, which costs less than copying the halves: the CPU plugin
    keeps a pixel's channels together, so slicing and concatenating move a few bytes at a time, while the sum is one
    pass that ends in the ReLU and the rounding to 8 bits. The values are the same up to rounding in float32.

    Scale and shift of a parameterless instance norm, which ONNX cannot leave out, are dropped everywhere. Constants are
    folded on the way: nncf quantises weights only where they are constants, and those of depthwise convolutions are
    reshaped ones in a graph as read.
    """
    fold_constants(model)
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "MVN":
            _drop_identity(operation)
    return rewritten(model, _instance_half, _merged)


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


def _instance_half(concat: ov.Node) -> tuple[ov.Node, int] | None:
    """The norm in concat(x[:b], MVN(x[b:])), and b; None when this is not what the node computes."""
    kinds = [source.get_node().get_type_name() for source in concat.input_values()]
    if concat.get_type_name() != "Concat" or kinds != ["Slice", "MVN"]:
        return None
    first, mvn = (source.get_node() for source in concat.input_values())
    second = mvn.input_value(0).get_node()
    if second.get_type_name() != "Slice" or first.input_value(0) != second.input_value(0):
        return None
    total = first.input_value(0).get_partial_shape()[1].get_length()
    start, stop = _range(first, total)
    return (mvn, stop) if start == 0 and _range(second, total) == (stop, total) else None


def _range(cut: ov.Node, total: int) -> tuple[int, int]:
    """First and past the last channel that a Slice takes; nothing where it is along other axes or has a step."""
    start, stop, step, axes = (cut.input_value(i).get_node().data.tolist() for i in range(1, 5))
    return (start[0], min(stop[0], total)) if (step, axes) == ([1], [1]) else (total, 0)


def _merged(concat: ov.Node, half: tuple[ov.Node, int]) -> ov.Node:
    name, (mvn, batch_channels) = concat.get_friendly_name(), half
    source = mvn.input_value(0).get_node().input_value(0)
    channels = source.get_partial_shape()[1].get_length()
    is_batch: NDArray[np.float32] = (np.arange(channels) < batch_channels).astype(np.float32).reshape(1, channels, 1, 1)
    attributes = mvn.get_attributes()
    whole = opset8.mvn(source, mvn.input_value(1), True, attributes["eps"], attributes["eps_mode"].lower())
    instance = opset8.multiply(whole, opset8.constant(1 - is_batch))
    batch = opset8.multiply(source, opset8.constant(is_batch))
    for node, role in ((whole, "MVN"), (instance, "Instance"), (batch, "Batch")):
        node.set_friendly_name(f"{name}/{role}")
    return opset8.add(instance, batch)
