"""Ratios read off curves worked out by hand, and searched for a budget of MACs."""

import pytest

from modnet.configs import PruningConfig, SensitivityConfig
from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.pruning.cost import cost_model
from modnet.pruning.plan import plan_pruning
from modnet.pruning.sensitivity import analysed_groups
from modnet.pruning.sensitivity_ratios import choose_ratios, ratio_within
from modnet.records import SensitivityCurve
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.fixture(scope="module")
def network() -> MODNet:
    return MODNet(ModnetSpec.tiny())


def made_up_curves(network: PrunableNetwork) -> list[SensitivityCurve]:
    """Each group loses another multiple of the share that goes."""
    return [
        SensitivityCurve(
            group=group.name,
            baseline=1,
            errors={},
            losses={ratio / 10: 0.01 * number * ratio for ratio in range(1, 10)},
        )
        for number, group in enumerate(analysed_groups(network), start=1)
    ]


def config(**settings: object) -> SensitivityConfig:
    return SensitivityConfig(pruning=PruningConfig(channel_multiple=1, min_channels=1), **settings)


@pytest.mark.parametrize(
    ("losses", "allowed", "ratio"),
    [
        ({0.2: 0.1, 0.4: 0.3}, 0.1, 0.2),
        ({0.2: 0.1, 0.4: 0.3}, 0.2, 0.3),
        ({0.2: 0.1, 0.4: 0.3}, 0.3, 0.4),
        ({0.4: 0.3, 0.2: 0.1}, 9, 0.4),
        ({0.2: 0.1, 0.4: 0.3}, 0.05, 0),
        ({0.2: 0.1, 0.4: 0.5, 0.6: 0.0}, 0.3, 0.3),
        ({0.2: 0.2, 0.4: 0.1, 0.6: 0.5}, 0.3, 0.5),
        ({0.2: -0.1, 0.4: 0.1}, 0, 0.3),
    ],
    ids=[
        "at a point",
        "between two",
        "at the last",
        "beyond all",
        "below the first",
        "falls again",
        "falls before",
        "gets better",
    ],
)
def test_ratio_within_reads_the_curve_up_to_the_first_exceedance(losses: dict, allowed: float, ratio: float) -> None:
    assert ratio_within(losses, allowed) == pytest.approx(ratio)


def test_choose_ratios_gives_each_group_what_its_curve_allows(network: MODNet) -> None:
    curves = made_up_curves(network)
    choice = choose_ratios(network, curves, config(allowed_loss=0.15))
    assert [entry.pattern for entry in choice.policy.ratios] == [curve.group for curve in curves]
    ratios = [entry.ratio for entry in choice.policy.ratios]
    assert ratios[:4] == pytest.approx([0.9, 0.75, 0.5, 0.375])
    assert ratios[15] == 0


def test_choose_ratios_says_what_the_pruned_network_costs(network: MODNet) -> None:
    choice = choose_ratios(network, made_up_curves(network), config(allowed_loss=0.15))
    plan = plan_pruning(network, PruningConfig(policy=choice.policy, channel_multiple=1, min_channels=1))
    assert (choice.parameters, choice.macs) == (plan.parameters, plan.macs)


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
def test_choose_ratios_finds_the_largest_network_within_the_budget(network: MODNet, share: float) -> None:
    curves = made_up_curves(network)
    budget = int(share * cost_model(network).cost({}).macs)
    choice = choose_ratios(network, curves, config(max_macs=budget))
    assert 0.95 * budget < choice.macs <= budget
    less = choose_ratios(network, curves, config(allowed_loss=choice.allowed_loss * (1 - 1e-9)))
    assert less.macs > budget


@pytest.mark.parametrize(
    ("max_macs", "message"), [(1, "largest measured ratio"), (10**12, "as it is")], ids=["too small", "nothing to do"]
)
def test_choose_ratios_raises_when_the_budget_is_out_of_reach(network: MODNet, max_macs: int, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        choose_ratios(network, made_up_curves(network), config(max_macs=max_macs))


def test_choose_ratios_raises_when_there_are_no_curves(network: MODNet) -> None:
    with pytest.raises(PruningError, match="no group was measured"):
        choose_ratios(network, [], config())


@pytest.mark.parametrize("ratios", [(0.0,), (1.0,), (0.5, 0.5), (), (-0.1,)])
def test_sensitivity_config_refuses_ratios_that_cannot_be_measured(ratios: tuple) -> None:
    with pytest.raises(ValueError, match="ratios"):
        SensitivityConfig(ratios=ratios)
