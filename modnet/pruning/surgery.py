"""From a plan to a smaller network that computes on the kept channels."""

from collections.abc import Mapping
from typing import overload

import torch
from torch import Tensor, nn

from modnet.errors import PruningError
from modnet.network import Network, PrunableNetwork
from modnet.pruning.compensation import compensation_for
from modnet.pruning.groups import tensor_slices
from modnet.pruning.law import require_law, with_random_weights
from modnet.pruning.plan import PruningPlan, network_digest
from modnet.pruning.traced_network import TracedNetwork


@overload
def apply_plan(model: Network, plan: PruningPlan, *, compensate: bool = False) -> Network: ...


@overload
def apply_plan(model: nn.Module, plan: PruningPlan, *, compensate: bool = False) -> nn.Module: ...


def apply_plan(model: nn.Module, plan: PruningPlan, *, compensate: bool = False) -> nn.Module:
    """A smaller network with the weights of the kept channels; `model`, which the plan was made for, is not touched.

    It equals `model` with the removed channels multiplied by zero where their consumers read them: after norm,
    activation and residual add. With `compensate` consumers add the constant that a removed channel leaves behind when
    the scales of its batch norms are zero and their shifts stay (see `compensation_for`).

    A network that declares no groups is traced as it was for the plan, and may have other weights by now; that the
    smaller one would equal it whatever its weights is tried on random ones.

    Raises:
        PruningError: the plan is for another network, the network's groups do not account for all its channels, or the
            smaller network does not compute what it should.
    """
    if isinstance(model, PrunableNetwork):
        _require_weights(model, plan)
        return _compact(model, plan, compensate)
    if plan.traced is None:
        raise PruningError(f"the plan is for a network that declares its groups; a {type(model).__name__} does not")
    examples = [torch.zeros(shape) for shape in plan.traced.inputs]
    return _compact(TracedNetwork(model, examples, keep_unknown=plan.traced.keep_unknown), plan, compensate).module


def _compact(model: Network, plan: PruningPlan, compensate: bool) -> Network:
    _require_same_network(model, plan)
    kept = _kept(model, plan)
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if compensate:
        for name, change in compensation_for(model, plan.removed()).items():
            state[name] += change
    if model.example_inputs is not None:
        twin = with_random_weights(model)
        require_law(twin, plan.removed(), _sliced(twin, twin.state_dict(), kept, plan), model.example_inputs)
    return _sliced(model, state, kept, plan)


def _kept(model: PrunableNetwork, plan: PruningPlan) -> dict[tuple[str, int], Tensor]:
    """Tensor and axis → bool, True for the positions that stay."""
    sides = {(name, axis): side for name, one in model.state_dict().items() for axis, side in enumerate(one.shape)}
    kept = {axis: torch.ones(side, dtype=torch.bool) for axis, side in sides.items()}
    removed = plan.removed()
    for piece in tensor_slices(model, model.channel_groups()):
        if piece.group in removed:
            kept[piece.tensor, piece.axis][list(piece.positions)] = ~removed[piece.group][list(piece.channels)]
    return kept


def _sliced(
    model: Network, state: dict[str, Tensor], kept: Mapping[tuple[str, int], Tensor], plan: PruningPlan
) -> Network:
    """A network of the plan's widths with what stays of a state."""
    state = dict(state)
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


def _require_weights(model: PrunableNetwork, plan: PruningPlan) -> None:
    if plan.network_sha256 is not None and plan.network_sha256 != (digest := network_digest(model)):
        raise PruningError(
            f"the plan is for another network of these widths: its weights have SHA-256 {plan.network_sha256}, "
            f"these {digest}"
        )
