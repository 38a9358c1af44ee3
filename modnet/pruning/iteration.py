"""A pruning divided into steps: prune a little, retrain, prune the retrained network again."""

from dataclasses import dataclass

from modnet.configs import IterationConfig, PruningConfig, RetrainConfig
from modnet.policies import stepped
from modnet.policies.cost import Cost
from modnet.records import Complexity


@dataclass(frozen=True)
class IterationStep:
    """What one step does to the network that the step before it left; steps count from 1."""

    number: int
    pruning: PruningConfig
    retrain: RetrainConfig


def iteration_steps(config: IterationConfig, unpruned: Complexity) -> tuple[IterationStep, ...]:
    """The steps from the unpruned network to what `config` asks for, each taking the same factor of what is left.

    Budgets are interpolated geometrically (Molchanov et al. 2017, arXiv 1611.06440, prune and fine-tune in turns; equal
    factors because a cut costs in proportion to what is left). A floor is divided likewise, so that no group ends below
    the config's share of its channels in the unpruned network, or of those that `batch_only` leaves it. The last step
    trains without sparsity: nothing is pruned after it.

    The config's policy is one that can be divided into steps. `unpruned` is the cost before the first, for 512×512
    pixels.
    """
    policy = stepped(config.pruning.policy)
    cost = Cost(unpruned.parameters, unpruned.macs)
    steps = []
    for number in range(1, config.steps + 1):
        update: dict[str, object] = {}
        if number == config.steps:
            update["sparsity"] = None
        elif config.intermediate_epochs is not None:
            update["epochs"] = config.intermediate_epochs
        pruning = config.pruning.model_copy(update={"policy": policy.of_step(number, config.steps, cost)})
        steps.append(IterationStep(number, pruning, config.retrain.model_copy(update=update)))
    return tuple(steps)
