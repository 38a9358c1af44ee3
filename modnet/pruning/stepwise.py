"""Planning in steps: what the remaining channels are worth is looked at again when some have gone."""

from collections.abc import Callable

from modnet.configs import PruningConfig
from modnet.network import PrunableNetwork
from modnet.policies import stepped
from modnet.pruning.cost import cost_model
from modnet.pruning.criteria import Scores
from modnet.pruning.gates import Removed
from modnet.pruning.plan import PruningPlan, plan_pruning


def plan_in_steps(
    model: PrunableNetwork, config: PruningConfig, score_without: Callable[[Removed], Scores], *, steps: int
) -> PruningPlan:
    """A plan for the config's `SteppedPolicy` by way of smaller prunings, with channels scored again before each.

    A first-order score tells what a channel's removal costs while all others are there. After a large cut that is no
    longer so: of two channels that do the same, the second matters once the first has gone. `score_without` gives
    scores as `taylor` does, without channels that have gone; these score 0 and stay away.

    Raises:
        PruningError: another policy, or what `plan_pruning` raises.
    """
    policy = stepped(config.policy)
    unpruned = cost_model(model).cost({})
    removed: Removed = {}
    for step in range(1, steps + 1):
        part = config.model_copy(update={"policy": policy.on_the_way(step, steps, unpruned)})
        plan = plan_pruning(model, part, scores=score_without(removed))
        removed = plan.removed()
    return plan.model_copy(update={"config": config})
