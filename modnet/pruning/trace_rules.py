"""What operations do to channels: one rule for each kind of operation of a traced graph.

A rule does to labels what its operation does to values. A convolution reads the labels of its inputs and makes new
ones. What moves values moves labels the same way. What combines values one by one unites their labels: these channels
can only be removed together. A rule returns the labels of what is computed, or `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.conv import _ConvNd

from modnet.pruning.channel_trace import ChannelTrace
from modnet.pruning.groups import is_depthwise, out_axis
from modnet.pruning.trace_values import State, map_values, path_of, spread, tensors_in, where

UNKNOWN = object()
"""What a rule returns that does not know what to do."""

Rule = Callable[..., Any]
"""(trace, node, the node's arguments by position) → labels, a tuple of labels, or `UNKNOWN`."""

aten = torch.ops.aten


def rule_for(target: Any) -> Rule | None:
    """The rule of an operation, whichever of its overloads it is, in place or not; None: there is none."""
    if not isinstance(target, torch._ops.OpOverload):
        return None
    rule = _RULES.get(target._schema.name.partition("::")[2].removesuffix("_"))
    return _pointwise if rule is None and torch.Tag.pointwise in target.tags else rule


# What makes channels


def _convolution(trace: ChannelTrace, node: Node, x: Any, weight: Any, bias: State | None = None, *_: Any) -> Any:
    found = trace.layer(weight, _ConvNd)
    if found is None or x.dim() != len(weight.shape):
        return UNKNOWN
    path, layer = found
    inputs = trace.channels(x, 1)
    if is_depthwise(layer):  # each input channel makes some of its own
        outputs = inputs.repeat_interleave(layer.out_channels // layer.in_channels)
        trace.holds(weight, 0, outputs)
        trace.counts(path, inputs, "in_channels", "groups")
    else:
        # Every group of a convolution must keep equally many channels, so the n-th of each go together.
        inputs = trace.labels.unite_along(inputs.view(layer.groups, -1), 0).flatten()
        outputs = trace.labels.fresh(layer.out_channels // layer.groups)
        trace.holds(weight, 1, outputs if out_axis(layer) else inputs)
        inputs, outputs = inputs.repeat(layer.groups), outputs.repeat(layer.groups)
        trace.holds(weight, 0, inputs if out_axis(layer) else outputs)
        trace.reads(path, inputs)
        trace.counts(path, inputs, "in_channels")
    trace.holds(bias, 0, outputs)
    trace.makes(node, path, outputs)
    trace.counts(path, outputs, "out_channels")
    return spread(outputs, 1, node.meta["val"].shape)


def _linear(trace: ChannelTrace, node: Node, x: Tensor, weight: Any, bias: State | None = None) -> Any:
    found = trace.layer(weight, nn.Linear)
    if found is None:
        return UNKNOWN
    path, layer = found
    inputs, outputs = trace.channels(x, -1), trace.labels.fresh(layer.out_features)
    trace.holds(weight, 1, inputs)
    trace.holds(weight, 0, outputs)
    trace.holds(bias, 0, outputs)
    trace.reads(path, inputs)
    trace.makes(node, path, outputs)
    trace.counts(path, inputs, "in_features")
    trace.counts(path, outputs, "out_features")
    return spread(outputs, -1, node.meta["val"].shape)


# What keeps channels


def _same(_trace: ChannelTrace, _node: Node, x: Tensor, *_: Any) -> Tensor:
    return x


def _pointwise(trace: ChannelTrace, node: Node, *arguments: Any) -> Any:
    """Operands that meet value by value are one channel; one that meets all channels of another must stay."""
    shape = node.meta["val"].shape
    operands = [trace.values_of(value) for value in tensors_in([arguments, trace.arguments(node.kwargs)])]
    if not operands:
        return UNKNOWN
    wide = [labels.expand(shape) for labels in operands]
    varying = [axis for axis in range(len(shape)) if any(trace.labels.vary(labels, axis) for labels in wide)]
    met = []
    for labels, one in zip(operands, wide, strict=True):
        own = (1,) * (len(shape) - labels.dim()) + tuple(labels.shape)
        if varying and all(own[axis] == 1 for axis in varying):
            trace.labels.fix(labels, f"{node.target} in {where(node)} applies it to all channels of another")
        else:
            met.append(one)
    for labels in met[1:]:
        trace.labels.unite(met[0], labels)
    return met[0]


def _prelu(trace: ChannelTrace, node: Node, x: Tensor, weight: Any) -> Any:
    found = trace.layer(weight, nn.PReLU)
    if found is None or found[1].num_parameters == 1:
        return _pointwise(trace, node, x, weight)
    channels = trace.channels(x, 1)
    trace.holds(weight, 0, channels)
    trace.counts(found[0], channels, "num_parameters")
    return x


def _norm_of_each_channel(trace: ChannelTrace, node: Node, x: Tensor, weight: Any = None, *rest: Any) -> Tensor:
    """Batch norm and instance norm: weight, bias, running mean, running variance, and what else there is."""
    channels = trace.channels(x, 1)
    for state in (weight, *rest[:3]):
        trace.holds(state, 0, channels)
    trace.counts(path_of(node), channels, "num_features")
    found = trace.layer(weight, nn.BatchNorm2d)
    if found is not None and (maker := _only_maker(trace, node)) is not None:
        trace.follows(maker, found[0])
    return x


def _only_maker(trace: ChannelTrace, norm: Node) -> str | None:
    """The layer whose first channels a norm reads, if nothing else reads the layer but slices beside it."""
    made = norm.args[0]
    assert isinstance(made, Node)
    if made.target is aten.slice.Tensor and made.args[1:3] == (1, 0) and isinstance(made.args[0], Node):
        made = made.args[0]
        if not all(user.target is aten.slice.Tensor for user in made.users):
            return None
    elif len(made.users) > 1:
        return None
    return trace.layers.get(made)


def _group_norm(trace: ChannelTrace, node: Node, x: Tensor, groups: int, *states: Any) -> Tensor:
    channels = trace.channels(x, 1)
    if groups != len(channels):
        trace.labels.fix(channels, f"{where(node)} takes the mean of {len(channels) // groups} channels")
    trace.counts(path_of(node), channels, "num_channels", "num_groups")
    for state in states[:2]:
        trace.holds(state, 0, channels)
    return x


def _layer_norm(trace: ChannelTrace, node: Node, x: Tensor, shape: Sequence[int], *states: Any) -> Any:
    if any(trace.labels.vary(x, axis) for axis in range(-len(shape), 0)):
        trace.labels.fix(x, f"{where(node)} takes the mean of all channels")
    return _pointwise(trace, node, x, *states[:2])


def _softmax(trace: ChannelTrace, node: Node, x: Tensor, axis: int, *_: Any) -> Tensor:
    if trace.labels.vary(x, axis):
        trace.labels.fix(x, f"{node.target} in {where(node)} divides by the sum of all channels")
    return x


def _spatial(trace: ChannelTrace, node: Node, x: Tensor, *_: Any) -> Any:
    """Pooling and resizing: every output of a channel is made of that channel, axes 2 and up."""
    channels = trace.labels.unite_along(x, *range(2, x.dim()))
    return map_values(node.meta["val"], lambda value: channels.expand(value.shape))


def _pad(trace: ChannelTrace, node: Node, x: Tensor, pads: Sequence[int], *_: Any) -> Any:
    channels = trace.labels.unite_along(x, *range(2, x.dim()))  # what is put around a channel belongs to it
    before_channels = 2 * (x.dim() - 2)
    if len(pads) > before_channels:
        empty = int(trace.keeps((1,), f"{node.target} in {where(node)} puts it between channels"))
        between = [0] * before_channels + list(pads[before_channels:])
        channels = nn.functional.pad(channels, between, value=empty)
    return channels.expand(node.meta["val"].shape)


def _reduce(trace: ChannelTrace, node: Node, x: Tensor, axes: Any = None, *_: Any) -> Any:
    """Means, sums and extremes: what is brought together is one channel."""
    if axes is None or axes == [] or isinstance(axes, bool):  # a variance over all says how it is corrected
        axes = range(x.dim())
    axes = [axis % x.dim() for axis in ([axes] if isinstance(axes, int) else axes)]
    first = trace.labels.unite_along(x, *axes)
    return map_values(node.meta["val"], lambda value: first if value.dim() == x.dim() else first.squeeze(axes))


# What moves channels


def _move(trace: ChannelTrace, node: Node, x: Any, *arguments: Any) -> Any:
    """Does to labels what is done to values."""
    values = [trace.values_of(one) for one in x] if isinstance(x, list | tuple) else x
    operation: Any = node.target
    return operation(values, *arguments, **trace.arguments(node.kwargs))


def _concatenate(trace: ChannelTrace, node: Node, parts: Sequence[Any], axis: int = 0) -> Tensor:
    shape = node.meta["val"].shape
    narrow = [trace.values_of(part) for part in parts]
    for other in range(len(shape)):
        if other != axis % len(shape) and all(part.stride(other) == 0 for part in narrow):
            narrow = [part.narrow(other, 0, 1) for part in narrow]
    return torch.cat(narrow, axis).expand(shape)


def _reshape(trace: ChannelTrace, node: Node, x: Tensor, *_: Any) -> Tensor:
    """Where channels of one axis become several axes, the outer ones keep their sizes: rows lose channels alike."""
    moved = x.reshape(node.meta["val"].shape)
    for axes in _split_axes(tuple(x.shape), tuple(moved.shape)):
        for axis in axes[:-1]:
            if trace.labels.vary(moved, axis):
                trace.labels.unite_along(moved, axis)
    return moved


def _channel_shuffle(trace: ChannelTrace, _node: Node, x: Tensor, groups: int) -> Tensor:
    rows = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    trace.labels.unite_along(rows, 1)
    return rows.transpose(1, 2).flatten(1, 2)


def _pick(trace: ChannelTrace, node: Node, x: Tensor, *arguments: Any) -> Any:
    """An axis that is picked from, or rolled, must keep what stands in it."""
    axes: Iterable[int] = [arguments[0] if arguments else 0]
    if node.target is aten.roll.default:
        axes = arguments[1] if len(arguments) > 1 and arguments[1] else range(x.dim())
    for axis in axes:
        if trace.labels.vary(x, axis):
            trace.labels.fix(x, f"{node.target} in {where(node)} counts on the places of channels")
    return _move(trace, node, x, *arguments)


def _slice(
    trace: ChannelTrace,
    node: Node,
    x: Tensor,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    count = x.shape[axis]
    start, end, _ = slice(start, end).indices(count)
    length = end - start
    counts: list[tuple[int, range]] = []
    equal = None
    if step == 1 and length > 0:
        counts = [(cut, range(cut)) for cut in {start, end} if 0 < cut < count]
        equal = length if count % length == 0 and start % length == 0 else None
    if (start, end, step) != (0, count, 1):
        _cut(trace, node, x, axis, counts, equal)
    return _move(trace, node, x, axis, start, end, step)


def _split(trace: ChannelTrace, node: Node, x: Tensor, sizes: Any, axis: int = 0) -> Any:
    lengths = [part.shape[axis] for part in node.meta["val"]]
    ranges = [range(sum(lengths[:n]), sum(lengths[: n + 1])) for n in range(len(lengths))]
    equal = lengths[0] if len(set(lengths)) == 1 else None
    counts = [] if node.target is aten.chunk.default else list(zip(lengths, ranges, strict=True))
    if isinstance(sizes, int):  # one number for all pieces
        counts = counts[:1]
    if len(lengths) > 1:
        _cut(trace, node, x, axis, counts, equal)
    return _move(trace, node, x, sizes, axis)


def _cut(
    trace: ChannelTrace, node: Node, x: Tensor, axis: int, counts: Sequence[tuple[int, range]], equal: int | None
) -> None:
    """A cut through channels of an axis: by attributes of the module, or into equal pieces, or they stay.

    Args:
        counts: the numbers that the cut is made with, each with the places of the channels that it counts.
        equal: the length of all pieces, if they have one.
    """
    if not trace.labels.vary(x, axis):
        return
    channels, path = trace.channels(x, axis), path_of(node)
    said = _said(trace.numbers_of(path), counts)
    for name, places in said:
        trace.counts(path, channels[list(places)], name)
    if equal is not None and (not said or node.target is aten.split.Tensor):
        trace.labels.unite_along(channels.view(-1, equal), 0)
    elif not said:
        why = f"{where(node)} cuts {len(channels)} channels at a place that is a constant of its code"
        trace.labels.fix(channels, why)


def _said(numbers: Sequence[tuple[str, int]], counts: Sequence[tuple[int, range]]) -> list[tuple[str, range]]:
    """The attributes that hold the numbers of a cut, with the places that they count; none, unless all are held."""
    said: list[tuple[str, range]] = []
    for count in {count for count, _ in counts}:
        pieces = [places for number, places in counts if number == count]
        names = [name for name, value in numbers if value == count]
        if len(pieces) == 1:
            pieces *= len(names)
        if not names or len(names) != len(pieces):
            return []
        said += zip(names, pieces, strict=True)  # several are in the order in which the module has them
    return said


def _split_axes(before: tuple[int, ...], after: tuple[int, ...]) -> list[list[int]]:
    """Axes of the new shape, those longer than 1, that share what were other axes; only where they are several."""
    found, i, j = [], 0, 0
    while i < len(before) and j < len(after):
        left, right, axes = before[i], after[j], [j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                axes.append(j)
                right, j = right * after[j], j + 1
        axes = [axis for axis in axes if after[axis] > 1]
        if len(axes) > 1:
            found.append(axes)
    return found


_BY_RULE: Mapping[Rule, str] = {
    _convolution: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    _linear: "linear",
    _same: "dropout feature_dropout alpha_dropout contiguous alias detach to _to_copy clone lift_fresh_copy",
    _pointwise: "relu6 hardswish log_sigmoid",
    _prelu: "prelu",
    _norm_of_each_channel: "batch_norm instance_norm",
    _group_norm: "group_norm",
    _layer_norm: "layer_norm",
    _softmax: "softmax log_softmax",
    _spatial: (
        "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool1d_with_indices "
        "max_pool2d_with_indices max_pool3d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d "
        "upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d reflection_pad3d "
        "replication_pad1d replication_pad2d replication_pad3d"
    ),
    _pad: "pad constant_pad_nd",
    _reduce: "mean sum amax amin std var",
    _move: (
        "permute transpose t numpy_T movedim swapaxes squeeze unsqueeze expand stack flip repeat tile "
        "repeat_interleave pixel_shuffle pixel_unshuffle"
    ),
    _concatenate: "cat concat concatenate",
    _reshape: "view reshape _unsafe_view flatten unflatten",
    _channel_shuffle: "channel_shuffle",
    _pick: "select unbind roll",
    _slice: "slice",
    _split: "split split_with_sizes chunk",
}
_RULES: Mapping[str, Rule] = {name: rule for rule, names in _BY_RULE.items() for name in names.split()}
"""By the names of ATen's operations; pointwise ones carry a tag, and most of them need no row."""
