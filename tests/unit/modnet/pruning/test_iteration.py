"""A pruning divided into steps arrives where it should, and no step asks for more than the whole."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modnet.configs import (
    AdaptivePolicy,
    BudgetPolicy,
    GlobalThresholdPolicy,
    IterationConfig,
    PruningConfig,
    RetrainConfig,
    SparsityConfig,
)
from modnet.pruning.iteration import iteration_steps
from modnet.records import Complexity

UNPRUNED = Complexity(parameters=1000, macs=8000, size=512)


def config(**policy: object) -> IterationConfig:
    return IterationConfig(steps=3, pruning=PruningConfig(policy=BudgetPolicy(**policy)))


@pytest.mark.parametrize(
    ("policy", "macs", "parameters"),
    [
        ({"max_macs": 1000}, [4000, 2000, 1000], [None, None, None]),
        ({"max_parameters": 343}, [None, None, None], [700, 490, 343]),
        ({"max_macs": 1000, "max_parameters": 343}, [4000, 2000, 1000], [700, 490, 343]),
        ({"max_macs": 64_000}, [16_000, 32_000, 64_000], [None, None, None]),
    ],
    ids=["macs", "parameters", "both", "above the network"],
)
def test_iteration_steps_take_equal_factors_when_policy_is_a_budget(policy: dict, macs: list, parameters: list) -> None:
    budgets = [step.pruning.policy for step in iteration_steps(config(**policy), UNPRUNED)]
    assert [budget.max_macs for budget in budgets] == macs
    assert [budget.max_parameters for budget in budgets] == parameters


def test_iteration_steps_remove_the_share_together_when_policy_is_a_global_threshold() -> None:
    whole = GlobalThresholdPolicy(share=0.657, floor=0.064)
    steps = iteration_steps(IterationConfig(steps=3, pruning=PruningConfig(policy=whole)), UNPRUNED)
    assert [step.pruning.policy.share for step in steps] == pytest.approx([0.3] * 3)
    assert [step.pruning.policy.floor for step in steps] == pytest.approx([0.4] * 3)


def test_iteration_steps_is_the_plain_pruning_when_there_is_one_step() -> None:
    whole = config(max_macs=1000).model_copy(update={"steps": 1})
    (step,) = iteration_steps(whole, UNPRUNED)
    assert (step.number, step.pruning, step.retrain) == (1, whole.pruning, whole.retrain)


def test_iteration_steps_retrain_shorter_between_and_without_sparsity_at_the_end() -> None:
    retrain = RetrainConfig(epochs=9, sparsity=SparsityConfig())
    whole = config(max_macs=1000).model_copy(update={"retrain": retrain, "intermediate_epochs": 2})
    steps = iteration_steps(whole, UNPRUNED)
    assert [step.retrain.epochs for step in steps] == [2, 2, 9]
    assert [step.retrain.sparsity is None for step in steps] == [False, False, True]


def test_iteration_config_refuses_a_policy_that_cannot_be_divided() -> None:
    with pytest.raises(ValidationError, match="'adaptive' cannot be divided into steps; wanted global-threshold"):
        IterationConfig(pruning=PruningConfig(policy=AdaptivePolicy()))
