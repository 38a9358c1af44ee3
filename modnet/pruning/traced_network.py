"""Any network as the engine asks for one: its groups are found by tracing it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from modnet.network import ChannelGroup, Input, PrunableNetwork
from modnet.pruning.grouping import Grouping, grouping_of
from modnet.pruning.groups import parts_held, tensor_slices


class TracedNetwork(PrunableNetwork):
    """A network that declares nothing.

    `module` is the network itself. Both have the same layers and tensors by the same names, so that what is done to one
    is done to the other.
    """

    workload = "none"
    module: nn.Module
    example_inputs: tuple[Tensor, ...]

    def __init__(self, module: nn.Module, example_inputs: Sequence[Tensor], *, keep_unknown: bool = False) -> None:
        """Traces when groups are first asked for.

        Args:
            module: the network, see `modnet.pruning.grouping.groups_of`.
            example_inputs: what it is called with; costs are those of this call.
            keep_unknown: keep all channels that an operation touches which is not followed, instead of an error.
        """
        super().__init__()
        self.example_inputs = tuple(example_inputs)
        self.keep_unknown = keep_unknown
        self.training = module.training
        self.inputs = tuple(
            Input(f"input{number or ''}", one.shape[1]) for number, one in enumerate(self.example_inputs)
        )
        self.__dict__["module"] = module  # not as a layer of this one, which would change all names
        for register in ("_modules", "_parameters", "_buffers"):
            self.__dict__[register] = module.__dict__[register]

    @cached_property
    def grouping(self) -> Grouping:
        """Groups, attributes that follow them, and what was not followed."""
        return grouping_of(self.module, self.example_inputs, keep_unknown=self.keep_unknown)

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)

    def train(self, mode: bool = True) -> Self:
        """Both change their modes."""
        self.module.training = mode
        return super().train(mode)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Which channels can only be removed together."""
        return self.grouping.groups

    def deployed(self) -> Self:
        """The whole network."""
        return self

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        """A copy in which the named groups have the given channels per part, in tensors without values."""
        module = copy.deepcopy(self.module)
        if widths:
            self._resize(module, widths)
        return type(self)(module, self.example_inputs, keep_unknown=self.keep_unknown)

    def _resize(self, module: nn.Module, widths: Mapping[str, tuple[int, ...]]) -> None:
        """Gives a copy of the network other widths: new tensors, and what its layers say of their channels."""
        full = {group.name: group.parts for group in self.channel_groups()}
        now = {**full, **widths}
        lengths: dict[tuple[str, int], int] = {}
        for piece in tensor_slices(self, self.channel_groups()):
            held = sum(now[name][part] for name, part in parts_held(piece, full))
            lengths[piece.tensor, piece.axis] = lengths.get((piece.tensor, piece.axis), 0) + held
        for name, tensor in module.state_dict(keep_vars=True).items():
            shape = [lengths.get((name, axis), side) for axis, side in enumerate(tensor.shape)]
            if shape != list(tensor.shape):
                path, _, own = name.rpartition(".")
                empty = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
                is_parameter = isinstance(tensor, nn.Parameter)
                value = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
                setattr(module.get_submodule(path), own, value)
        for (path, attribute), parts in self.grouping.sizes.items():
            setattr(module.get_submodule(path), attribute, sum(now[name][part] for name, part in parts))
