"""The largest network within a budget: never above it, and no single step more fits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modnet.configs import BudgetPolicy, PruningConfig
from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.policies.cost import Cost, CostModel
from modnet.policies.policy import AllowedWidths, split_by_parts
from modnet.pruning.complexity import complexity
from modnet.pruning.cost import cost_model
from modnet.pruning.plan import PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.pruning.networks import NETWORKS, EncoderDecoder


def smallest(network: PrunableNetwork, model: CostModel, allowed: AllowedWidths) -> Cost:
    """What the network costs when every group has the least that `allowed` and a floor of 0.1 allow."""
    widths = {
        group.name: split_by_parts(allowed.from_floor(group, 0.1)[0], group.parts)
        for group in network.channel_groups()
        if group.prunable
    }
    return model.cost(widths)


def costs_one_step_up(network: PrunableNetwork, model: CostModel, plan: PruningPlan) -> list[Cost]:
    """For each group that is not full, what the network would cost with that one group at its next allowed width."""
    assert plan.config is not None
    allowed = AllowedWidths(plan.config.channel_multiple, plan.config.min_channels)
    widths = {name: group.widths for name, group in plan.groups.items()}
    costs = []
    for group in network.channel_groups():
        if not group.prunable or sum(widths[group.name]) == group.channels:
            continue
        wider = next(width for width in allowed.from_floor(group, 0.1) if width > sum(widths[group.name]))
        costs.append(model.cost({**widths, group.name: split_by_parts(wider, group.parts)}))
    return costs


@pytest.mark.parametrize("kind", NETWORKS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(share=st.floats(0, 1), multiple=st.sampled_from([1, 2, 4, 8]), seed=st.integers(0, 99))
def test_plan_pruning_leaves_no_step_that_fits_when_macs_are_limited(
    kind: str, share: float, multiple: int, seed: int
) -> None:
    network = NETWORKS[kind]()
    model = cost_model(network)
    least = smallest(network, model, AllowedWidths(multiple, 1)).macs
    macs = least + int(share * (model.cost({}).macs - least))
    policy = BudgetPolicy(max_macs=macs)
    config = PruningConfig(policy=policy, criterion="random", seed=seed, channel_multiple=multiple, min_channels=1)
    plan = plan_pruning(network, config)
    assert plan.macs is not None
    assert plan.macs <= macs
    assert all(cost.macs > macs for cost in costs_one_step_up(network, model, plan))


def test_plan_pruning_leaves_no_step_that_fits_when_macs_and_parameters_are_limited() -> None:
    network = NETWORKS["mobilenet"]()
    model = cost_model(network)
    full = model.cost({})
    policy = BudgetPolicy(max_macs=int(0.7 * full.macs), max_parameters=int(0.5 * full.parameters))
    plan = plan_pruning(network, PruningConfig(policy=policy, channel_multiple=1, min_channels=1))
    built = complexity(apply_plan(network, plan))
    assert (built.parameters, built.macs) == (plan.parameters, plan.macs)
    assert built.macs <= policy.max_macs
    assert built.parameters <= policy.max_parameters
    steps = costs_one_step_up(network, model, plan)
    assert steps
    assert all(cost.macs > policy.max_macs or cost.parameters > policy.max_parameters for cost in steps)


@pytest.mark.parametrize(
    ("network", "policy"),
    [
        (MODNet(ModnetSpec.full()), BudgetPolicy(max_macs=8_000_000_000)),
        (MODNet(ModnetSpec.full()), BudgetPolicy(max_parameters=1_500_000)),
        (MobileNetV2(MobileNetV2Spec.full()), BudgetPolicy(max_macs=500_000_000)),
    ],
    ids=["modnet-macs", "modnet-parameters", "mobilenet-macs"],
)
def test_plan_pruning_meets_budget_within_one_percent_when_single_channels_may_go(
    network: PrunableNetwork, policy: BudgetPolicy
) -> None:
    plan = plan_pruning(network, PruningConfig(policy=policy, criterion="random", channel_multiple=1))
    assert plan.macs is not None
    assert plan.parameters is not None
    got, wanted = (plan.macs, policy.max_macs) if policy.max_macs else (plan.parameters, policy.max_parameters)
    assert wanted is not None
    assert 0.99 * wanted < got <= wanted


def test_plan_pruning_removes_nothing_when_network_is_within_budget() -> None:
    network = EncoderDecoder()
    plan = plan_pruning(network, PruningConfig(policy=BudgetPolicy(max_macs=cost_model(network).cost({}).macs)))
    assert all(group.widths == group.parts for group in plan.groups.values())


def test_plan_pruning_removes_what_is_worth_least_for_its_cost() -> None:
    """All groups alike but one whose channels are worth nothing: it goes to its floor first."""
    network = EncoderDecoder()
    scores = {name: torch.ones(width, dtype=torch.float64) for name, width in network.FULL.items()}
    scores["inner"].zero_()
    budget = BudgetPolicy(max_macs=cost_model(network).cost({}).macs - 1, floor=0.4)
    config = PruningConfig(policy=budget, channel_multiple=1, min_channels=1)
    plan = plan_pruning(network, config, scores=scores)
    assert len(plan.groups["inner"].kept) < 5
    assert all(len(plan.groups[name].kept) == network.FULL[name] for name in ("trunk", "deep", "fine"))


def test_plan_pruning_spares_excluded_groups_when_budget_is_low() -> None:
    network = EncoderDecoder()
    budget = BudgetPolicy(max_macs=cost_model(network).cost({}).macs // 2)
    config = PruningConfig(policy=budget, exclude=("trunk",), channel_multiple=1, min_channels=1)
    plan = plan_pruning(network, config)
    assert plan.groups["trunk"].widths == (6,)
    assert plan.macs is not None
    assert plan.macs <= budget.max_macs


def test_plan_pruning_raises_with_the_smallest_there_is_when_budget_cannot_be_met() -> None:
    network = EncoderDecoder()
    floor = cost_model(network).cost({"trunk": (3,), "inner": (3,), "deep": (4,), "fine": (4,)})
    config = PruningConfig(policy=BudgetPolicy(max_macs=1000, floor=0.5), channel_multiple=1, min_channels=1)
    with pytest.raises(PruningError, match=f"has {floor.parameters} parameters and {floor.macs} MACs, wanted at most"):
        plan_pruning(network, config)
