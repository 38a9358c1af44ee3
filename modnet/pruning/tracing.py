"""What a network does to its channels, found by tracing it: a label for every position of every tensor's channel axis.

`torch.export` writes down what is computed of example inputs. Each of these operations is then done on labels instead
of values. A convolution reads the labels of its inputs and makes new ones. What moves values moves labels the same way.
What combines values one by one unites their labels: these channels can only be removed together. What this module does
not know keeps every channel that it touches, or is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.nn.modules.conv import _ConvNd

from modnet.errors import PruningError
from modnet.pruning.groups import channel_axes, is_depthwise, out_axis
from modnet.pruning.labels import Labels


@dataclass(frozen=True)
class Size:
    """An attribute of a module that says how many channels there are, by which its forward cuts a tensor."""

    module: str
    attribute: str
    labels: Tensor  # (count,) of the channels that it counts


@dataclass
class ChannelTrace:
    """Labels of all channels of a network; equal `labels.roots` are one channel.

    Attributes:
        makes: module → (out_channels,) of what it computes, in order of running.
        reads: module → (in_channels,) of what it reads; depthwise convolutions are not there.
        tensors: (name in the state dict, axis) → a label for each position.
        norms: convolution or linear layer → the batch norm that is all that reads it.
        sizes: attributes that must follow when channels go.
        unknown: what was not followed, as sentences.
    """

    labels: Labels = field(default_factory=Labels)
    makes: dict[str, Tensor] = field(default_factory=dict)
    reads: dict[str, Tensor] = field(default_factory=dict)
    tensors: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    norms: dict[str, str] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _State:
    """A parameter or buffer in the graph."""

    name: str
    value: Tensor


def trace(network: nn.Module, inputs: Sequence[Tensor]) -> ChannelTrace:
    """Labels of the channels of a network, as it computes the example inputs in evaluation mode.

    The channels of inputs and outputs are fixed. So is what an unknown operation touches; `ChannelTrace.unknown` says
    which ones there were. The network is not changed.

    Raises:
        PruningError: the network cannot be traced, because it does not run on these inputs or takes decisions by values.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad():
            program = torch.export.export(network.eval(), tuple(inputs))
    except Exception as error:  # torch.export raises what the network raises, and a dozen classes of its own
        shapes = ", ".join(str(tuple(one.shape)) for one in inputs)
        reason = str(error).strip().partition("\n")[0]
        raise PruningError(
            f"{type(network).__name__} cannot be traced on inputs of {shapes}: {type(error).__name__}: {reason}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    return _Tracer(network, program).run()


class _Tracer:
    def __init__(self, network: nn.Module, program: torch.export.ExportedProgram) -> None:
        self._network = network
        self._program = program
        self._trace = ChannelTrace()
        self._labels = self._trace.labels
        self._wholes: dict[str, Tensor] = {}  # a label for each element of tensors that are used as values
        self._values: dict[Node, Any] = {}

    def run(self) -> ChannelTrace:
        kinds = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._given(node, kinds[node.name])
            elif node.op == "call_function":
                self._values[node] = self._computed(node)
            elif node.op == "output":
                for value in _tensors(self._arguments(node.args)):
                    self._labels.fix(value, "is an output of the network")
        self._wholes_to_axes()
        self._join_names()
        self._keep_the_rest()
        return self._trace

    def _given(self, node: Node, spec: Any) -> Any:
        value = node.meta["val"]
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            return _State(spec.target, value)
        if not isinstance(value, Tensor):
            return None
        if spec.kind != InputKind.USER_INPUT or value.dim() < 2:
            return self._kept(value.shape, "meets a constant of the network's code")
        labels = self._labels.fresh(value.shape[1])
        self._labels.fix(labels, "is an input of the network")
        return _spread(labels, 1, value.shape)

    def _arguments(self, arguments: Any) -> Any:
        return torch.fx.node.map_arg(arguments, lambda node: self._values[node])

    def _computed(self, node: Node) -> Any:
        if node.target.__module__ == "_operator":  # getitem
            container, index = self._arguments(node.args)
            return container[index] if isinstance(container, (tuple, list)) else None
        if not isinstance(node.target, torch._ops.OpOverload):
            return self._unknown(node)
        name = node.target._schema.name.partition("::")[2].removesuffix("_")
        rule = _RULES.get(name)
        if rule is None and torch.Tag.pointwise in node.target.tags:
            rule = _Tracer.pointwise
        arguments = list(self._arguments(node.args))
        if arguments and isinstance(arguments[0], _State):
            arguments[0] = self._values_of(arguments[0])
        outcome = rule(self, node, *arguments) if rule is not None else _UNKNOWN
        return self._unknown(node) if outcome is _UNKNOWN else outcome

    def _unknown(self, node: Node) -> Any:
        """Keeps all channels that an operation reads; what it makes has no channels that can go."""
        why = f"{node.target} in {_where(node)} is not followed"
        for value in _tensors(self._arguments([node.args, node.kwargs])):
            if not isinstance(value, _State):
                self._give_up(value, why)
                continue
            for axis, side in enumerate(value.value.shape):
                self._hold(value, axis, self._kept((side,), why))
        return _map_values(node.meta.get("val"), lambda value: self._kept(value.shape, why))

    def _give_up(self, labels: Tensor, why: str) -> None:
        self._labels.fix(labels, why)
        if why not in self._trace.unknown:
            self._trace.unknown.append(why)

    def _kept(self, shape: Sequence[int], why: str) -> Tensor:
        """Labels of what is one channel that stays."""
        label = self._labels.fresh(1)
        self._labels.fix(label, why)
        return label.reshape((1,) * len(shape)).expand(tuple(shape))

    def _values_of(self, value: Any) -> Tensor:
        """The labels of a tensor as values: those of a parameter, one by one, if it is one."""
        if not isinstance(value, _State):
            labels: Tensor = value
            return labels
        if value.name not in self._wholes:
            self._wholes[value.name] = self._labels.fresh(value.value.numel()).view(value.value.shape)
        return self._wholes[value.name]

    def _hold(self, state: Any, axis: int, labels: Tensor) -> None:
        """Positions of an axis of a parameter hold these channels; None is a parameter that there is not."""
        if state is None:
            return
        key = (state.name, axis)
        if key in self._trace.tensors:
            self._labels.unite(self._trace.tensors[key], labels)
        else:
            self._trace.tensors[key] = labels

    def _channels(self, labels: Tensor, axis: int) -> Tensor:
        """(count,) labels along an axis: what reads it reads a channel as a whole."""
        others = [one for one in range(labels.dim()) if one != axis % labels.dim()]
        return self._labels.unite_along(labels, *others).flatten()

    def _layer(self, weight: Any, kinds: type | tuple[type, ...]) -> tuple[str, Any] | None:
        """Path and module of a parameter's layer; None where it is none of these kinds, or the weight is computed."""
        if not isinstance(weight, _State):
            return None
        path = weight.name.rpartition(".")[0]
        module = self._network.get_submodule(path)
        return (path, module) if isinstance(module, kinds) else None

    # What makes channels

    def convolution(self, node: Node, x: Any, weight: Any, bias: Any = None, *_: Any) -> Any:
        found = self._layer(weight, _ConvNd)
        if found is None or not isinstance(x, Tensor) or x.dim() != weight.value.dim():
            return _UNKNOWN
        path, layer = found
        inputs = self._channels(x, 1)
        if is_depthwise(layer):  # each input channel makes some of its own
            outputs = inputs.repeat_interleave(layer.out_channels // layer.in_channels)
            self._hold(weight, 0, outputs)
            self._count(path, inputs, "in_channels", "groups")
        else:
            # Every group of a convolution must keep equally many channels, so the n-th of each go together.
            inputs = self._labels.unite_along(inputs.view(layer.groups, -1), 0).flatten()
            outputs = self._labels.fresh(layer.out_channels // layer.groups)
            self._hold(weight, 1, outputs if out_axis(layer) else inputs)
            inputs, outputs = inputs.repeat(layer.groups), outputs.repeat(layer.groups)
            self._hold(weight, 0, inputs if out_axis(layer) else outputs)
            self._remember(self._trace.reads, path, inputs)
            self._count(path, inputs, "in_channels")
        self._hold(bias, 0, outputs)
        self._remember(self._trace.makes, path, outputs)
        self._count(path, outputs, "out_channels")
        return _spread(outputs, 1, node.meta["val"].shape)

    def linear(self, node: Node, x: Any, weight: Any, bias: Any = None) -> Any:
        found = self._layer(weight, nn.Linear)
        if found is None or not isinstance(x, Tensor):
            return _UNKNOWN
        path, layer = found
        inputs, outputs = self._channels(x, -1), self._labels.fresh(layer.out_features)
        self._hold(weight, 1, inputs)
        self._hold(weight, 0, outputs)
        self._hold(bias, 0, outputs)
        self._remember(self._trace.reads, path, inputs)
        self._remember(self._trace.makes, path, outputs)
        self._count(path, inputs, "in_features")
        self._count(path, outputs, "out_features")
        return _spread(outputs, -1, node.meta["val"].shape)

    def _count(self, path: str, labels: Tensor, *attributes: str) -> None:
        """Attributes of a module that say how many channels there are."""
        self._trace.sizes += [
            Size(path, name, labels) for name in attributes if type(vars(self._network.get_submodule(path)).get(name)) is int
        ]

    def _remember(self, where: dict[str, Tensor], path: str, labels: Tensor) -> None:
        if path in where:  # a layer that runs again
            self._labels.unite(where[path], labels)
        where.setdefault(path, labels)

    # What keeps channels

    def pointwise(self, node: Node, *arguments: Any) -> Any:
        """Operands that meet value by value are one channel; one that meets all channels of another must stay."""
        shape = node.meta["val"].shape
        operands = [self._values_of(value) for value in _tensors([arguments, self._arguments(node.kwargs)])]
        if not operands:
            return None
        wide = [labels.expand(shape) for labels in operands]
        varying = [axis for axis in range(len(shape)) if any(self._labels.vary(labels, axis) for labels in wide)]
        met = []
        for labels, one in zip(operands, wide, strict=True):
            own = (1,) * (len(shape) - labels.dim()) + tuple(labels.shape)
            if varying and all(own[axis] == 1 for axis in varying):
                self._labels.fix(labels, f"{node.target} in {_where(node)} applies it to all channels of another")
            else:
                met.append(one)
        for labels in met[1:]:
            self._labels.unite(met[0], labels)
        return met[0]

    def same(self, _node: Node, x: Any, *_: Any) -> Any:
        return None if x is None else self._values_of(x)

    def batch_norm(self, node: Node, x: Any, weight: Any = None, bias: Any = None, *rest: Any) -> Any:
        channels = self._channels(x, 1)
        for state in (weight, bias, *rest[:2]):
            self._hold(state, 0, channels)
        self._count(_path(node), channels, "num_features")
        found = self._layer(weight, nn.BatchNorm2d)
        if found is not None and (maker := self._only_maker(node)) is not None:
            self._trace.norms.setdefault(maker, found[0])
        return x

    def _only_maker(self, norm: Node) -> str | None:
        """The layer whose first channels a norm reads, if nothing else reads the layer but norms beside it."""
        made = norm.args[0]
        assert isinstance(made, Node)
        if made.op == "call_function" and made.target is torch.ops.aten.slice.Tensor and made.args[1:3] == (1, 0):
            made = made.args[0]
            if not all(user.target is torch.ops.aten.slice.Tensor for user in made.users):
                return None
        elif len(made.users) > 1:
            return None
        weight = self._values.get(made.args[1]) if made.op == "call_function" and len(made.args) > 1 else None
        found = self._layer(weight, (_ConvNd, nn.Linear)) if isinstance(weight, _State) else None
        return None if found is None else found[0]

    def prelu(self, node: Node, x: Any, weight: Any) -> Any:
        if not isinstance(weight, _State) or weight.value.numel() == 1:
            return self.pointwise(node, x, weight)
        channels = self._channels(x, 1)
        self._hold(weight, 0, channels)
        self._count(_path(node), channels, "num_parameters")
        return x

    def group_norm(self, node: Node, x: Any, groups: int, weight: Any = None, bias: Any = None, *_: Any) -> Any:
        channels = self._channels(x, 1)
        if groups != len(channels):
            self._labels.fix(channels, f"{_where(node)} takes the mean of {len(channels) // groups} channels")
        self._count(_path(node), channels, "num_channels", "num_groups")
        for state in (weight, bias):
            self._hold(state, 0, channels)
        return x

    def layer_norm(self, node: Node, x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, *_: Any) -> Any:
        if any(self._labels.vary(x, axis) for axis in range(-len(shape), 0)):
            self._labels.fix(x, f"{_where(node)} takes the mean of all channels")
        return self.pointwise(node, x, *(state for state in (weight, bias) if state is not None))

    def softmax(self, node: Node, x: Any, axis: int, *_: Any) -> Any:
        if self._labels.vary(x, axis):
            self._labels.fix(x, f"{node.target} in {_where(node)} divides by the sum of all channels")
        return x

    def spatial(self, node: Node, x: Any, *_: Any) -> Any:
        """Pooling and resizing: every output of a channel is made of that channel, axes 2 and up."""
        channels = self._labels.unite_along(x, *range(2, x.dim()))
        return _map_values(node.meta["val"], lambda value: channels.expand(value.shape))

    def pad(self, node: Node, x: Any, pads: Sequence[int], *rest: Any) -> Any:
        if len(pads) // 2 <= x.dim() - 2:
            return self.spatial(node, x)
        empty = self._labels.fresh(1)
        self._labels.fix(empty, f"{node.target} in {_where(node)} puts it between channels")
        # What is put at borders of a channel belongs to it.
        inner = self._labels.unite_along(x, *range(2, x.dim()))
        channels = torch.nn.functional.pad(inner, [0] * (2 * x.dim() - 4) + list(pads[2 * x.dim() - 4 :]), value=int(empty))
        return channels.expand(node.meta["val"].shape)

    def reduce(self, node: Node, x: Any, axes: Any = None, *_: Any) -> Any:
        """Means, sums and extremes: what is brought together is one channel."""
        if axes is None or axes == []:
            axes = list(range(x.dim()))
        axes = [axis % x.dim() for axis in ([axes] if isinstance(axes, int) else axes)]
        first = self._labels.unite_along(self._values_of(x), *axes)

        def shaped(value: Tensor) -> Tensor:
            return first if value.dim() == first.dim() else first.squeeze(axes)

        return _map_values(node.meta["val"], shaped)

    # What moves channels

    def move(self, node: Node, x: Any, *arguments: Any) -> Any:
        """Does to labels what is done to values."""
        if isinstance(x, (list, tuple)):
            x = [self._values_of(one) for one in x]
        elif x is not None:
            x = self._values_of(x)
        return node.target(x, *arguments, **self._arguments(node.kwargs))

    def concatenate(self, node: Node, parts: Any, axis: int = 0) -> Any:
        shape = node.meta["val"].shape
        axis %= len(shape)
        narrow = [self._values_of(part) for part in parts if part is not None]
        for other in range(len(shape)):
            if other != axis and all(part.stride(other) == 0 for part in narrow):
                narrow = [part.narrow(other, 0, 1) for part in narrow]
        return torch.cat(narrow, axis).expand(shape)

    def reshape(self, node: Node, x: Any, *_: Any) -> Any:
        """Where channels of one axis become several axes, the outer ones keep their sizes: rows lose channels alike."""
        if x is None:
            return None
        labels, shape = self._values_of(x), node.meta["val"].shape
        moved = labels.reshape(shape)
        for axes in _split_axes(tuple(labels.shape), tuple(shape)):
            for axis in axes[:-1]:
                if self._labels.vary(moved, axis):
                    self._labels.unite_along(moved, axis)
        return moved

    def channel_shuffle(self, node: Node, x: Any, groups: int) -> Any:
        rows = x.unflatten(1, (groups, x.shape[1] // groups))
        self._labels.unite_along(rows, 1)
        return rows.transpose(1, 2).flatten(1, 2)

    def turn(self, node: Node, x: Any, *arguments: Any) -> Any:
        """Axes that are picked from or rolled must keep what stands in them."""
        if node.target is torch.ops.aten.roll.default:
            axes = list(arguments[1]) if len(arguments) > 1 and arguments[1] else list(range(x.dim()))
        else:
            axes = [arguments[0] if arguments else 0]
        for axis in axes:
            if self._labels.vary(x, axis):
                self._labels.fix(x, f"{node.target} in {_where(node)} counts on the places of channels")
        return self.move(node, x, *arguments)

    def slice(self, node: Node, x: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
        x = self._values_of(x)
        count = x.shape[axis]
        start, end, _ = slice(start, end).indices(count)
        if (start, end) != (0, count) or step != 1:
            cuts = {cut: range(cut) for cut in (start, end) if 0 < cut < count}
            length = end - start
            equal = length if length > 0 and count % length == 0 and start % length == 0 and step == 1 else None
            self._cut(node, x, axis, list(cuts.items()) if step == 1 else [], equal)
        return self.move(node, x, axis, start, end, step)

    def split(self, node: Node, x: Any, sizes: Any, axis: int = 0) -> Any:
        x = self._values_of(x)
        lengths = [part.shape[axis] for part in node.meta["val"]]
        starts = [sum(lengths[:number]) for number in range(len(lengths))]
        ranges = [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        equal = lengths[0] if len(set(lengths)) == 1 else None
        if equal is not None and isinstance(sizes, int):
            ranges = ranges[:1]
        if len(lengths) > 1:
            by_size = node.target is not torch.ops.aten.chunk.default
            self._cut(node, x, axis, [(len(one), one) for one in ranges] if by_size else [], equal)
        return self.move(node, x, sizes, axis)

    def _cut(self, node: Node, x: Tensor, axis: int, counts: list[tuple[int, range]], equal: int | None) -> None:
        """A cut through channels of an axis: by an attribute of the module, or into equal pieces, or they stay.

        Args:
            counts: the numbers that the cut is made with, each with the places of the channels that it counts.
            equal: the length of all pieces, if they have one.
        """
        if not self._labels.vary(x, axis):
            return
        channels, path = self._channels(x, axis), _path(node)
        said = self._said(path, channels, counts)
        self._trace.sizes += said
        if equal is not None and (not said or node.target is torch.ops.aten.split.Tensor):
            self._labels.unite_along(channels.view(-1, equal), 0)
        elif not said:
            why = f"{_where(node)} cuts {len(channels)} channels at a place that is a constant of its code"
            self._labels.fix(channels, why)

    def _said(self, path: str, channels: Tensor, counts: list[tuple[int, range]]) -> list[Size]:
        """The attributes of a module that hold these numbers; none, unless there is one for each."""
        numbers = [(name, value) for name, value in vars(self._network.get_submodule(path)).items() if type(value) is int]
        sizes: list[Size] = []
        for count in {count for count, _ in counts}:
            pieces = [channels[list(places)] for number, places in counts if number == count]
            names = [name for name, value in numbers if value == count]
            if len(pieces) == 1:
                pieces *= len(names)
            if not names or len(names) != len(pieces):
                return []
            sizes += map(Size, itertools.repeat(path), names, pieces)  # several: in the order in which it has them
        return sizes

    def _wholes_to_axes(self) -> None:
        """Finds the axis of channels in parameters that were used as values; those of several axes stay."""
        for name, whole in self._wholes.items():
            held = [labels for (tensor, _), labels in self._trace.tensors.items() if tensor == name]
            varying = [axis for axis in range(whole.dim()) if self._labels.vary(whole, axis)]
            if len(varying) == 1 and not held:
                self._trace.tensors[name, varying[0]] = self._channels(whole, varying[0])
            elif not varying and not held:  # one value for all, or all that must stay
                self._labels.fix(whole, f"{name} is one value for all channels")
            else:
                for labels in (whole, *held):
                    self._give_up(labels, f"{name} is used in a way that is not followed")

    def _join_names(self) -> None:
        """A module that has two names has its tensors twice; two modules that share a tensor would part with it."""
        owners: dict[int, tuple[str, nn.Module]] = {}
        for name, tensor in self._network.state_dict(keep_vars=True).items():
            module = self._network.get_submodule(name.rpartition(".")[0])
            first, owner = owners.setdefault(id(tensor), (name, module))
            for axis in range(tensor.dim() if first != name else 0):
                places = [(one, axis) for one in (first, name)]
                uses = [self._trace.tensors[place] for place in places if place in self._trace.tensors]
                for labels in uses:
                    if owner is module:
                        self._trace.tensors.update(dict.fromkeys(places, labels))
                    else:
                        self._give_up(labels, f"{first} and {name} are one tensor in two layers")

    def _keep_the_rest(self) -> None:
        """Tensors and axes that hold no channels of the trace stay: those of layers that do not run, of embeddings."""
        for name, tensor in self._network.state_dict().items():
            module = self._network.get_submodule(name.rpartition(".")[0])
            for axis in range(min(tensor.dim(), channel_axes(module))):
                if (name, axis) not in self._trace.tensors:
                    self._trace.tensors[name, axis] = self._kept(tensor.shape[axis : axis + 1], "is not used")


_UNKNOWN = object()

_Rule = Callable[..., Any]
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _Tracer.convolution
    ),
    "linear": _Tracer.linear,
    **dict.fromkeys(("relu6", "hardswish", "log_sigmoid"), _Tracer.pointwise),
    "prelu": _Tracer.prelu,
    **dict.fromkeys(
        ("dropout", "feature_dropout", "alpha_dropout", "contiguous", "alias", "detach", "to", "_to_copy", "clone")
        + ("lift_fresh_copy",),
        _Tracer.same,
    ),
    **dict.fromkeys(("batch_norm", "instance_norm"), _Tracer.batch_norm),
    "group_norm": _Tracer.group_norm,
    "layer_norm": _Tracer.layer_norm,
    **dict.fromkeys(("softmax", "log_softmax"), _Tracer.softmax),
    **dict.fromkeys(
        (
            *(f"{kind}_pool{axes}d" for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for axes in (1, 2, 3)),
            *(f"max_pool{axes}d_with_indices" for axes in (1, 2, 3)),
            *(f"upsample_{kind}" for kind in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d")),
            *("upsample_bicubic2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
            *(f"{kind}_pad{axes}d" for kind in ("reflection", "replication") for axes in (1, 2, 3)),
        ),
        _Tracer.spatial,
    ),
    **dict.fromkeys(("pad", "constant_pad_nd"), _Tracer.pad),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "std", "var"), _Tracer.reduce),
    **dict.fromkeys(
        ("permute", "transpose", "t", "numpy_T", "squeeze", "unsqueeze", "expand", "stack", "flip", "movedim", "repeat")
        + ("swapaxes", "tile", "repeat_interleave", "pixel_shuffle", "pixel_unshuffle", "expand_as"),
        _Tracer.move,
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), _Tracer.concatenate),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "unflatten"), _Tracer.reshape),
    "channel_shuffle": _Tracer.channel_shuffle,
    **dict.fromkeys(("select", "unbind", "roll"), _Tracer.turn),
    "slice": _Tracer.slice,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _Tracer.split),
}
"""ATen's operations by name; pointwise ones, which carry a tag, need no row."""


def _spread(labels: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """(count,) labels as those of a tensor whose axis they run along."""
    ones = [1] * len(shape)
    ones[axis] = -1
    return labels.view(ones).expand(tuple(shape))


def _split_axes(before: tuple[int, ...], after: tuple[int, ...]) -> list[list[int]]:
    """Axes of the new shape, those longer than 1, that share what were other axes; only where they are several."""
    found, i, j = [], 0, 0
    while i < len(before) and j < len(after):
        size, axes = before[i], [j]
        left, right = size, after[j]
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


def _tensors(values: Any) -> list[Any]:
    """All labelled tensors and parameters in nested arguments."""
    if isinstance(values, (Tensor, _State)):
        return [values]
    if isinstance(values, Mapping):
        values = list(values.values())
    return [found for value in values for found in _tensors(value)] if isinstance(values, (list, tuple)) else []


def _map_values(values: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(values, Tensor):
        return change(values)
    return tuple(_map_values(value, change) for value in values) if isinstance(values, (list, tuple)) else None


def _path(node: Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def _where(node: Node) -> str:
    return _path(node) or "the network itself"
