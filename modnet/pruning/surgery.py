"""From a plan to a smaller network that computes on the kept channels."""

from __future__ import annotations

from typing import TypeVar

import torch

from modnet.errors import PruningError
from modnet.pruning.groups import PrunableNetwork, tensor_slices
from modnet.pruning.plan import PruningPlan

Network = TypeVar("Network", bound=PrunableNetwork)


def apply_plan(model: Network, plan: PruningPlan) -> Network:
    """A smaller network with the weights of the kept channels; `model` is not touched.

    It equals `model` with the removed channels multiplied by zero where their consumers read them: after norm,
    activation and residual add.

    Raises:
        PruningError: the plan is for another network, or the network's groups do not account for all its channels.
    """
    groups = {group.name: group for group in model.channel_groups()}
    for name, group_plan in plan.groups.items():
        parts = groups[name].parts if name in groups else None
        if parts != group_plan.parts:
            raise PruningError(
                f"the plan is for another network: group {name!r} has {group_plan.parts} there, {parts} here"
            )

    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    kept = {
        (name, axis): torch.ones(tensor.shape[axis], dtype=torch.bool)
        for name, tensor in state.items()
        for axis in range(tensor.dim())
    }
    for piece in tensor_slices(model, tuple(groups.values())):
        if piece.group in plan.groups:
            keeps = torch.zeros(groups[piece.group].channels, dtype=torch.bool)
            keeps[list(plan.groups[piece.group].kept)] = True
            kept[piece.tensor, piece.axis][piece.start : piece.start + piece.length] = keeps[
                piece.first : piece.first + piece.length
            ]
    for (name, axis), keeps in kept.items():
        if not keeps.all():
            state[name] = state[name].index_select(axis, keeps.nonzero().flatten().to(state[name].device))

    compact = model.resized({name: group_plan.widths for name, group_plan in plan.groups.items()})
    compact.load_state_dict(state, assign=True)  # keeps dtype and device
    return compact.train(model.training)
