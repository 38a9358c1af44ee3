"""Planning in steps: what the remaining channels are worth is looked at again when some have gone."""

from __future__ import annotations

from collections.abc import Callable

from modnet.configs import GlobalThresholdPolicy, Policy, PruningConfig, TargetPolicy
from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.pruning.cost import Cost, CostModel
from modnet.pruning.criteria import Scores
from modnet.pruning.gates import Removed
from modnet.pruning.plan import PruningPlan, plan_pruning


def plan_in_steps(
    model: PrunableNetwork, config: PruningConfig, look: Callable[[Removed], Scores], *, steps: int
) -> PruningPlan:
    """A plan towards the config's target by way of `steps` smaller ones, with scores looked at before each.

    A first-order score tells what a channel's removal costs while all others are there. After a large cut that is no
    longer so: of two channels that do the same, the second matters once the first has gone.

    Args:
        model: what is to become smaller; nothing in it changes.
        config: its policy is `target` or `global-threshold`.
        look: channels that have gone → scores, as `taylor` gives them; those that have gone score 0 and stay away.
        steps: at least 1; budgets between the unpruned network and the target are spaced geometrically.

    Raises:
        PruningError: another policy, or what `plan_pruning` raises.
    """
    unpruned = CostModel(model).cost({})
    removed: Removed = {}
    for number in range(1, steps + 1):
        policy = _policy_at(config.policy, number / steps, unpruned)
        plan = plan_pruning(model, config.model_copy(update={"policy": policy}), scores=look(removed))
        removed = plan.removed()
    return plan.model_copy(update={"config": config})


def _policy_at(policy: Policy, progress: float, unpruned: Cost) -> Policy:
    """The policy on the way from the unpruned network (0) to what was asked (1)."""

    def between(whole: int, target: int | None) -> int | None:
        return None if target is None else round(whole * (target / whole) ** progress) if progress < 1 else target

    if isinstance(policy, TargetPolicy):
        return policy.model_copy(
            update={
                "max_macs": between(unpruned.macs, policy.max_macs),
                "max_parameters": between(unpruned.parameters, policy.max_parameters),
            }
        )
    if isinstance(policy, GlobalThresholdPolicy):
        return policy.model_copy(update={"share": policy.share * progress})
    raise PruningError(f"policy {policy.kind!r} cannot be approached in steps; wanted target or global-threshold")
