"""Channel groups: which runs of which tensors hold the same channels.

A network declares its groups by module names. Here the declaration becomes slices of state-dict tensors, and is refused
unless it accounts for every channel of every tensor. With the slices, pruning is indexing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from modnet.errors import PruningError
from modnet.network import ChannelGroup, Consumer, Held, Producer

Layer = _ConvNd | nn.Linear


@dataclass(frozen=True)
class TensorSlice:
    """Position `positions[i]` of one tensor axis holds channel `channels[i]` of a group."""

    tensor: str
    axis: int
    group: str
    positions: Sequence[int]
    channels: Sequence[int]


def tensor_slices(model: nn.Module, groups: Sequence[ChannelGroup]) -> tuple[TensorSlice, ...]:
    """The slices of all state-dict tensors of `model` that its groups hold.

    Raises:
        PruningError: two groups share a name; a member is not a module that can hold channels; or the groups leave
            out, exceed or share channels of a tensor, which is named.
    """
    slices: list[TensorSlice] = []
    names: set[str] = set()
    for group in groups:
        if group.name in names:
            raise PruningError(f"two channel groups are called {group.name!r}")
        names.add(group.name)
        for producer in group.producers:
            layer, held = _layer(model, producer, group), producer.held(group.channels)
            slices.append(_weight_slice(layer, producer.module, out_axis(layer), group, held))
            if layer.bias is not None:
                slices.append(TensorSlice(f"{producer.module}.bias", 0, group.name, *held))
            if producer.norm is not None:
                slices.extend(_norm_slices(model, producer, group))
        for consumer in group.consumers:
            layer, held = _layer(model, consumer, group), consumer.held(group.channels)
            slices.append(_weight_slice(layer, consumer.module, 1 - out_axis(layer), group, held))
        for carrier in group.carriers:
            slices.append(TensorSlice(carrier.tensor, carrier.axis, group.name, *carrier.held(group.channels)))
    _require_cover(model, slices)
    return tuple(slices)


def parts_held(piece: TensorSlice, full: Mapping[str, tuple[int, ...]]) -> list[tuple[str, int]]:
    """The parts (group, index) whose channels a slice holds, each as often as it holds every one of its channels."""
    counts = np.bincount(piece.channels, minlength=sum(full[piece.group]))
    starts = (end - part for end, part in zip(accumulate(full[piece.group]), full[piece.group], strict=True))
    return [(piece.group, part) for part, start in enumerate(starts) for _ in range(counts[start])]


def held_by_norm(model: nn.Module, producer: Producer, group: ChannelGroup) -> Held:
    """Which positions of a producer's norm hold which of the group's channels; none where it has no norm."""
    if producer.norm is None:
        return Held((), ())
    features = len(model.get_submodule(producer.norm).get_parameter("weight"))
    pairs = zip(*producer.held(group.channels), strict=True)
    within = [(position, channel) for position, channel in pairs if position < features]
    return Held([position for position, _ in within], [channel for _, channel in within])


def out_axis(layer: nn.Module) -> int:
    """Axis of a layer's weight along which its outputs are."""
    return 1 if isinstance(layer, _ConvTransposeNd) and not is_depthwise(layer) else 0


def is_depthwise(module: nn.Module) -> bool:
    """True for a convolution in which every output reads one input channel alone, and each has equally many."""
    is_alone = isinstance(module, _ConvNd) and module.groups == module.in_channels > 1
    return is_alone and not (isinstance(module, _ConvTransposeNd) and module.out_channels > module.in_channels)


def channel_axes(module: nn.Module) -> int:
    """How many first axes of a module's tensors hold channels; the second one of a depthwise weight has length 1."""
    return 1 if is_depthwise(module) else 2


def _may_be_depthwise(model: nn.Module, tensor: str) -> bool:  # a convolution of one channel is that and plain at once
    module = model.get_submodule(tensor.rpartition(".")[0])
    return isinstance(module, _ConvNd) and module.in_channels == module.out_channels == 1


def _module(model: nn.Module, path: str, group: ChannelGroup) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise PruningError(f"group {group.name!r} names module {path!r}, which the network does not have") from error


def _layer(model: nn.Module, member: Producer | Consumer, group: ChannelGroup) -> Layer:
    path, module = member.module, _module(model, member.module, group)
    if not isinstance(module, _ConvNd | nn.Linear):
        raise _refusal(group, f"{path} is a {type(module).__name__}; only convolutions and Linear hold channels")
    groups = 1 if isinstance(module, nn.Linear) or is_depthwise(module) else module.groups
    if groups > 1 and (member.places is None or any(len(places) % groups for places in member.places)):
        raise _refusal(group, f"{path} has {groups} groups of channels, and a channel is not in each of them")
    return module


def _weight_slice(layer: Layer, path: str, axis: int, group: ChannelGroup, held: Held) -> TensorSlice:
    """Inputs or outputs of a layer as positions of its weight; groups of a convolution share them on one axis."""
    size = layer.weight.shape[axis]
    if isinstance(layer, _ConvNd) and layer.groups > 1 and size < max(held.positions) + 1:
        shared = {position % size: channel for position, channel in zip(*held, strict=True)}
        held = Held(list(shared), list(shared.values()))
    return TensorSlice(f"{path}.weight", axis, group.name, *held)


def _norm_slices(model: nn.Module, producer: Producer, group: ChannelGroup) -> list[TensorSlice]:
    assert producer.norm is not None
    path, norm = producer.norm, _module(model, producer.norm, group)
    if not isinstance(norm, nn.BatchNorm2d):
        raise _refusal(group, f"{path} is a {type(norm).__name__}, wanted BatchNorm2d")
    held = held_by_norm(model, producer, group)
    outputs = len(model.get_submodule(producer.module).get_parameter("weight"))
    covered, ends = len(set(held.channels)), list(accumulate(group.parts))
    if covered not in ends or norm.num_features > outputs:
        raise _refusal(group, f"{path} holds {norm.num_features} channels, which is not where a part ends {ends}")
    tensors = [name for name in ("weight", "bias", "running_mean", "running_var") if getattr(norm, name) is not None]
    return [TensorSlice(f"{path}.{name}", 0, group.name, *held) for name in tensors]


def _refusal(group: ChannelGroup, why: str) -> PruningError:
    return PruningError(f"group {group.name!r}: {why}")


def _require_cover(model: nn.Module, slices: Sequence[TensorSlice]) -> None:
    """Refuses a declaration that does not account for each channel of each tensor exactly once."""
    owners: dict[tuple[str, int], Tensor] = {}
    for name, tensor in model.state_dict().items():
        module = model.get_submodule(name.rpartition(".")[0])
        for axis, side in enumerate(tensor.shape):
            if axis < channel_axes(module) or not isinstance(module, Layer):
                owners[name, axis] = torch.zeros(side, dtype=torch.int64)
    for piece in slices:
        owner, where = owners.get((piece.tensor, piece.axis)), f"axis {piece.axis} of {piece.tensor}"
        if owner is None:
            raise PruningError(f"group {piece.group!r} holds {where}, which has no channels")
        start, end = min(piece.positions), max(piece.positions) + 1
        if start < 0 or end > len(owner):
            raise PruningError(f"group {piece.group!r} holds {start}..{end - 1} of {where}, which has {len(owner)}")
        owner.index_add_(0, torch.tensor(piece.positions), torch.ones(len(piece.positions), dtype=torch.int64))
    for (name, axis), owner in owners.items():
        if axis >= channel_axes(model.get_submodule(name.rpartition(".")[0])) and not owner.any():
            continue
        wrong = (owner != 1).nonzero().flatten().tolist()
        if wrong and not (axis == 1 and owner.tolist() == [0] and _may_be_depthwise(model, name)):
            count = int(owner[wrong[0]])
            raise PruningError(
                f"the channel groups do not fit {name}: channel {wrong[0]} of axis {axis} (of {len(owner)}) "
                f"belongs to {count} groups, wanted exactly 1"
            )
