"""What a network costs as a function of how many channels its groups keep, without building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import NamedTuple

from torch import nn

from modnet.network import PrunableNetwork
from modnet.pruning.complexity import layer_costs
from modnet.pruning.groups import TensorSlice, tensor_slices

Widths = Mapping[str, tuple[int, ...]]
"""Group name → channels of each part."""


class Cost(NamedTuple):
    """Of the deployed graph."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Term:
    """One tensor: so many parameters and MACs for each combination of the channels on its axes.

    An axis is the sum of the parts (group, index) that meet on it.
    """

    axes: tuple[tuple[tuple[str, int], ...], ...]
    parameters: int
    macs: int

    def cost(self, widths: Widths) -> Cost:
        """Parameters and MACs of the tensor at the given widths."""
        combinations = prod(sum(widths[group][part] for group, part in axis) for axis in self.axes)
        return Cost(self.parameters * combinations, self.macs * combinations)


class CostModel:
    """Parameters and MACs of a network's deployed graph for one `size` × `size` image, at any widths of its groups."""

    def __init__(self, model: PrunableNetwork, size: int = 512) -> None:
        groups = model.channel_groups()
        self.full: dict[str, tuple[int, ...]] = {group.name: group.parts for group in groups}
        slices: dict[str, list[TensorSlice]] = {}
        for piece in tensor_slices(model, groups):
            slices.setdefault(piece.tensor, []).append(piece)
        self.terms: list[Term] = []
        for path, (_, macs) in layer_costs(model, size).items():
            for name, tensor in model.get_submodule(path).named_parameters(recurse=False):
                pieces = slices[f"{path}.{name}"]
                axes = tuple(
                    tuple(part for piece in pieces if piece.axis == axis for part in self._parts(piece))
                    for axis in sorted({piece.axis for piece in pieces})
                )
                rest = tensor.numel() // prod(tensor.shape[axis] for axis in range(len(axes)))
                positions = macs // tensor.numel() if _multiplies(model.get_submodule(path), name) else 0
                self.terms.append(Term(axes, rest, rest * positions))
        self.terms_of: dict[str, list[Term]] = {name: [] for name in self.full}
        for term in self.terms:
            for name in {group for axis in term.axes for group, _ in axis}:
                self.terms_of[name].append(term)

    def cost(self, widths: Widths) -> Cost:
        """Of the whole deployed graph; groups that `widths` does not name keep all channels."""
        complete = {**self.full, **widths}
        costs = [term.cost(complete) for term in self.terms]
        return Cost(sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs))

    def neighbours(self, group: str) -> set[str]:
        """Groups whose cost depends on how many channels `group` has, itself included."""
        return {name for term in self.terms_of[group] for axis in term.axes for name, _ in axis}

    def _parts(self, piece: TensorSlice) -> list[tuple[str, int]]:
        ends = list(accumulate(self.full[piece.group]))
        return [(piece.group, part) for part in range(ends.index(piece.length) + 1)]


def _multiplies(module: nn.Module, name: str) -> bool:
    """The parameter is one whose use is counted in MACs."""
    return name == "weight" and isinstance(module, nn.Conv2d | nn.Linear)
