"""Channel groups: which runs of which tensors hold the same channels.

A network declares its groups by module names. Here the declaration becomes slices of state-dict tensors, and is refused
unless it accounts for every channel of every tensor. With the slices, pruning is indexing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from modnet.errors import PruningError
from modnet.network import ChannelGroup


@dataclass(frozen=True)
class TensorSlice:
    """Positions `start … start + length` of one tensor axis hold the first `length` channels of a group."""

    tensor: str
    axis: int
    start: int
    length: int
    group: str


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
            weight, bias = _weight_and_bias(model, producer.module, group)
            slices.append(TensorSlice(weight, 0, 0, group.channels, group.name))
            if bias is not None:
                slices.append(TensorSlice(bias, 0, 0, group.channels, group.name))
            if producer.norm is not None:
                slices.extend(_norm_slices(model, producer.norm, group))
        for consumer in group.consumers:
            weight, _ = _weight_and_bias(model, consumer.module, group)
            slices.append(TensorSlice(weight, 1, consumer.offset, group.channels, group.name))
    _require_cover(model, slices)
    return tuple(slices)


def is_depthwise(module: nn.Module) -> bool:
    """True for a convolution in which output channel i reads input channel i alone."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels > 1


def _may_be_depthwise(model: nn.Module, tensor: str) -> bool:  # a convolution of one channel is that and plain at once
    module = model.get_submodule(tensor.rpartition(".")[0])
    return isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels == 1


def _module(model: nn.Module, path: str, group: ChannelGroup) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise PruningError(f"group {group.name!r} names module {path!r}, which the network does not have") from error


def _weight_and_bias(model: nn.Module, path: str, group: ChannelGroup) -> tuple[str, str | None]:
    module = _module(model, path, group)
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise _refusal(group, f"{path} is a {type(module).__name__}; only Conv2d and Linear hold channels")
    if isinstance(module, nn.Conv2d) and module.groups != 1 and not is_depthwise(module):
        raise _refusal(group, f"{path} has {module.groups} groups of channels; only 1 or depthwise can be pruned")
    return f"{path}.weight", None if module.bias is None else f"{path}.bias"


def _norm_slices(model: nn.Module, path: str, group: ChannelGroup) -> list[TensorSlice]:
    norm = _module(model, path, group)
    if not isinstance(norm, nn.BatchNorm2d):
        raise _refusal(group, f"{path} is a {type(norm).__name__}, wanted BatchNorm2d")
    covered, ends = norm.num_features, list(accumulate(group.parts))
    if covered not in ends:
        raise _refusal(group, f"{path} holds {covered} channels, which is not where a part ends {ends}")
    tensors = [name for name in ("weight", "bias", "running_mean", "running_var") if getattr(norm, name) is not None]
    return [TensorSlice(f"{path}.{name}", 0, 0, covered, group.name) for name in tensors]


def _refusal(group: ChannelGroup, why: str) -> PruningError:
    return PruningError(f"group {group.name!r}: {why}")


def _require_cover(model: nn.Module, slices: Sequence[TensorSlice]) -> None:
    """Refuses a declaration that does not account for each channel of each tensor exactly once."""
    owners: dict[tuple[str, int], Tensor] = {}
    for name, tensor in model.state_dict().items():
        # Axes 0 and 1 of a weight are channels; the second axis of a depthwise weight has length 1 and holds none.
        module = model.get_submodule(name.rpartition(".")[0])
        for axis in range(min(tensor.dim(), 1 if is_depthwise(module) else 2)):
            owners[name, axis] = torch.zeros(tensor.shape[axis], dtype=torch.int64)
    for piece in slices:
        owner, where = owners.get((piece.tensor, piece.axis)), f"axis {piece.axis} of {piece.tensor}"
        if owner is None:
            raise PruningError(f"group {piece.group!r} holds {where}, which has no channels")
        start, end = piece.start, piece.start + piece.length
        if start < 0 or end > len(owner):
            raise PruningError(f"group {piece.group!r} holds {start}..{end - 1} of {where}, which has {len(owner)}")
        owner[start:end] += 1
    for (name, axis), owner in owners.items():
        wrong = (owner != 1).nonzero().flatten().tolist()
        if wrong and not (axis == 1 and owner.tolist() == [0] and _may_be_depthwise(model, name)):
            count = int(owner[wrong[0]])
            raise PruningError(
                f"the channel groups do not fit {name}: channel {wrong[0]} of axis {axis} (of {len(owner)}) "
                f"belongs to {count} groups, wanted exactly 1"
            )
