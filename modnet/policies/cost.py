"""What a network costs as a function of how many channels its groups keep: sums of products, without a network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

Widths = Mapping[str, tuple[int, ...]]  # group name → channels of each part


class Cost(NamedTuple):
    """Of the deployed graph."""

    parameters: int
    macs: int


def summed(costs: Iterable[Cost]) -> Cost:
    """What several parts cost together."""
    every = list(costs)
    return Cost(sum(cost.parameters for cost in every), sum(cost.macs for cost in every))


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


@dataclass(frozen=True)
class CostModel:
    """Parameters and MACs of a network's deployed graph at any widths of its groups."""

    full: Widths  # the widths of the unpruned network
    terms: Sequence[Term]  # what the cost is the sum of; `modnet.pruning.cost` derives it from a network

    @cached_property
    def terms_of(self) -> Mapping[str, Sequence[Term]]:
        """Group name → the terms that depend on its channels."""
        terms_of: dict[str, list[Term]] = {name: [] for name in self.full}
        for term in self.terms:
            for name in {group for axis in term.axes for group, _ in axis}:
                terms_of[name].append(term)
        return terms_of

    def cost(self, widths: Widths) -> Cost:
        """Of the whole deployed graph; groups that `widths` does not name keep all channels."""
        complete = {**self.full, **widths}
        return summed(term.cost(complete) for term in self.terms)

    def neighbours(self, group: str) -> set[str]:
        """Groups whose cost depends on how many channels `group` has, itself included."""
        return {name for term in self.terms_of[group] for axis in term.axes for name, _ in axis}
