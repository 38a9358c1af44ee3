"""From a plan to a smaller network that computes on the kept channels."""

import torch

from modnet.errors import PruningError
from modnet.network import Network, PrunableNetwork
from modnet.pruning.compensation import compensation_for
from modnet.pruning.groups import tensor_slices
from modnet.pruning.plan import PruningPlan, network_digest


def apply_plan(model: Network, plan: PruningPlan, *, compensate: bool = False) -> Network:
    """A smaller network with the weights of the kept channels; `model`, which the plan was made for, is not touched.

    It equals `model` with the removed channels multiplied by zero where their consumers read them: after norm,
    activation and residual add. With `compensate` consumers add the constant that a removed channel leaves behind when
    the scales of its batch norms are zero and their shifts stay (see `compensation_for`).

    Raises:
        PruningError: the plan is for another network, or the network's groups do not account for all its channels.
    """
    _require_same_network(model, plan)
    slices = tensor_slices(model, model.channel_groups())
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if compensate:
        for name, change in compensation_for(model, plan.removed()).items():
            state[name] += change

    sides = {(name, axis): side for name, tensor in state.items() for axis, side in enumerate(tensor.shape)}
    kept = {axis: torch.ones(side, dtype=torch.bool) for axis, side in sides.items()}
    removed = plan.removed()
    for piece in slices:
        if piece.group in removed:
            keeps = ~removed[piece.group][: piece.length]
            kept[piece.tensor, piece.axis][piece.start : piece.start + piece.length] = keeps
    for (name, axis), keeps in kept.items():
        if not keeps.all():
            state[name] = state[name].index_select(axis, keeps.nonzero().flatten().to(state[name].device))

    compact = model.resized({name: group_plan.widths for name, group_plan in plan.groups.items()})
    compact.load_state_dict(state, assign=True)  # keeps dtype and device
    return compact.train(model.training)


def _require_same_network(model: PrunableNetwork, plan: PruningPlan) -> None:
    groups = {group.name: group for group in model.channel_groups()}
    for name, group_plan in plan.groups.items():
        here, there = groups[name].parts if name in groups else None, group_plan.parts
        if here != there:
            raise PruningError(f"the plan is for another network: group {name!r} has {there} there, {here} here")
        if not groups[name].prunable and len(group_plan.kept) < groups[name].channels:
            raise PruningError(f"the plan removes channels of group {name!r}, which the outside world decides")
    if plan.network_sha256 is not None and plan.network_sha256 != (digest := network_digest(model)):
        raise PruningError(
            f"the plan is for another network of these widths: its weights have SHA-256 {plan.network_sha256}, "
            f"these {digest}"
        )
