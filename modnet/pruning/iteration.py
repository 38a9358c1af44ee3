"""A pruning target divided into steps: prune a little, retrain, prune the retrained network again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modnet.configs import GlobalThresholdPolicy, IterationConfig, Policy, PruningConfig, RetrainConfig, TargetPolicy
from modnet.errors import ConfigError
from modnet.records import Complexity


@dataclass(frozen=True)
class IterationStep:
    """What one step does to the network that the step before it left; steps count from 1."""

    number: int
    pruning: PruningConfig
    retrain: RetrainConfig


def iteration_steps(config: IterationConfig, unpruned: Complexity) -> tuple[IterationStep, ...]:
    """The steps from the unpruned network to the target of `config`, each taking the same factor of what is left.

    Budgets are interpolated geometrically (Molchanov et al. 2017, arXiv 1611.06440, prune and fine-tune in turns; equal
    factors because a cut costs in proportion to what is left). A floor is divided likewise, so that no group ends
    below the config's share of its channels in the unpruned network, or of those that `batch_only` leaves it. The last
    step trains without sparsity: nothing is pruned after it.

    Args:
        config: its policy is `target` or `global-threshold`.
        unpruned: cost of the network before the first step, for a 512×512 image.
    """
    steps = []
    for number in range(1, config.steps + 1):
        update: dict[str, object] = {}
        if number == config.steps:
            update["sparsity"] = None
        elif config.intermediate_epochs is not None:
            update["epochs"] = config.intermediate_epochs
        pruning = config.pruning.model_copy(
            update={"policy": _policy_of_step(config.pruning.policy, number, config.steps, unpruned)}
        )
        steps.append(IterationStep(number, pruning, config.retrain.model_copy(update=update)))
    return tuple(steps)


def _policy_of_step(policy: Policy, number: int, steps: int, unpruned: Complexity) -> Policy:
    if isinstance(policy, GlobalThresholdPolicy):
        return policy.model_copy(
            update={"share": 1 - (1 - policy.share) ** (1 / steps), "floor": policy.floor ** (1 / steps)}
        )
    if isinstance(policy, TargetPolicy):
        return policy.model_copy(
            update={
                "max_macs": _between(unpruned.macs, policy.max_macs, number, steps),
                "max_parameters": _between(unpruned.parameters, policy.max_parameters, number, steps),
                "floor": policy.floor ** (1 / steps),
            }
        )
    raise ConfigError(f"policy {policy.kind!r} cannot be divided into steps; wanted target or global-threshold")


def _between(unpruned: int, target: int | None, number: int, steps: int) -> int | None:
    """unpruned · (target / unpruned)^(number / steps); exactly the target after the last step."""
    if target is None or number == steps:
        return target
    return round(unpruned * math.pow(target / unpruned, number / steps))
