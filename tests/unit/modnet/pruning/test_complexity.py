"""Counts of the published network, worked out from its layer shapes."""

import pytest
import torch

from modnet.errors import ConfigError
from modnet.pruning.complexity import complexity, layer_costs
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


def test_complexity_equals_published_counts_when_network_is_full() -> None:
    cost = complexity(MODNet(ModnetSpec.full()))
    assert cost.parameters == 6_476_609
    assert cost.macs / 1e9 == pytest.approx(15.47, abs=0.005)


def test_layer_costs_leaves_out_what_only_training_runs() -> None:
    network = MODNet(ModnetSpec.tiny())
    heads = {name for name, _ in network.named_parameters() if name.startswith(("semantic.head", "detail.head"))}
    counted = sum(parameters for parameters, _ in layer_costs(network).values())
    assert counted == sum(p.numel() for name, p in network.named_parameters() if name not in heads)


def test_layer_costs_equals_hand_count_of_the_stem() -> None:
    parameters, macs = layer_costs(MODNet(ModnetSpec.tiny()), size=64)["backbone.stem.conv"]
    assert parameters == 8 * 3 * 3 * 3
    assert macs == 32 * 32 * 8 * 27


def test_complexity_leaves_network_and_random_state_alone() -> None:
    network = MODNet(ModnetSpec.tiny()).train()
    state = torch.get_rng_state()
    complexity(network)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [0, -32, 100])
def test_complexity_raises_when_size_is_no_multiple_of_32(size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        complexity(MODNet(ModnetSpec.tiny()), size)
