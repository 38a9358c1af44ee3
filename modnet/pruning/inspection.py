"""What a network consists of: cost by layer and branch, and its groups of channels; alone, or before and after."""

from collections.abc import Mapping
from dataclasses import dataclass

from modnet.network import ChannelGroup, PrunableNetwork
from modnet.policies.cost import Cost, summed
from modnet.pruning.complexity import layer_costs
from modnet.pruning.groups import TensorSlice, tensor_slices


@dataclass(frozen=True)
class Inspection:
    """One network."""

    size: int | None  # side in pixels of the square image that MACs are counted for; None: the example inputs
    layers: Mapping[str, Cost]  # path → cost of every layer of the deployed graph, in order of running
    groups: Mapping[str, ChannelGroup]
    tensors: Mapping[str, tuple[TensorSlice, ...]]  # what each group holds, by the group's name
    # of every tensor of the state dict, those of the heads that only training uses included
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def branches(self) -> dict[str, Cost]:
        """Costs by branch, in order of running."""
        names = dict.fromkeys(branch_of(path) for path in self.layers)
        return {name: summed(cost for path, cost in self.layers.items() if branch_of(path) == name) for name in names}

    @property
    def total(self) -> Cost:
        """Of the deployed graph."""
        return summed(self.layers.values())


@dataclass(frozen=True)
class GroupChange:
    """What became of one group, by the earlier network's name for it: channels of each part, before and after."""

    name: str
    before: tuple[int, ...] | None  # None where only the later network has such a group
    after: tuple[int, ...] | None  # None where the later network has none of its layers
    prunable: bool  # whether its channels may be removed


def inspect_network(network: PrunableNetwork, size: int = 512) -> Inspection:
    """Takes a network apart.

    Raises:
        ConfigError: `size` is not a positive multiple of 32.
        PruningError: the groups do not account for all channels.
    """
    groups = network.channel_groups()
    tensors: dict[str, list[TensorSlice]] = {group.name: [] for group in groups}
    for piece in tensor_slices(network, groups):
        tensors[piece.group].append(piece)
    return Inspection(
        size=size if network.example_inputs is None else None,
        layers=layer_costs(network, size),
        groups={group.name: group for group in groups},
        tensors={name: tuple(pieces) for name, pieces in tensors.items()},
        shapes={name: tuple(tensor.shape) for name, tensor in network.state_dict().items()},
    )


def group_changes(before: Inspection, after: Inspection) -> list[GroupChange]:
    """What became of every group, in the earlier network's order.

    Groups of two networks correspond when the same layer makes their channels, whatever they are called: a network
    that has lost a skip has split a group in two.
    """
    made_by = {maker: group for group in after.groups.values() for maker in _makers(group)}
    changes = []
    for group in before.groups.values():
        left = next((made_by[maker].parts for maker in _makers(group) if maker in made_by), None)
        changes.append(GroupChange(group.name, group.parts, left, group.prunable))
    known = {maker for group in before.groups.values() for maker in _makers(group)}
    for group in after.groups.values():
        if known.isdisjoint(_makers(group)):
            changes.append(GroupChange(group.name, None, group.parts, group.prunable))
    return changes


def branch_of(path: str) -> str:
    """The branch that a layer or a group belongs to: the first name of its path."""
    return path.partition(".")[0]


def _makers(group: ChannelGroup) -> list[str]:
    return [producer.module for producer in group.producers] or [group.name]  # an image's are made by none
