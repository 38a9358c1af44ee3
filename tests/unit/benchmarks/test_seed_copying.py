"""The baseline of the ranking benchmark copies as the seed does: each layer its own best filters."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from benchmarks import seed_copying
from modnet.errors import PruningError
from modnet.pruning.complexity import complexity
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.random_network import random_network


@pytest.fixture(scope="module")
def network() -> MODNet:
    return random_network(ModnetSpec.full())


def best(norms: torch.Tensor, count: int) -> torch.Tensor:
    return norms.topk(count).indices.sort().values


def test_seed_copied_is_the_network_itself_when_nothing_goes(network: MODNet) -> None:
    copied = seed_copying.seed_copied(network, 1e-9, 0.0)
    assert copied.spec == network.spec
    state = copied.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_seed_copied_lets_expand_and_depthwise_choose_for_themselves(network: MODNet) -> None:
    block, whole = seed_copying.seed_copied(network, 0.3, 0.5).backbone.blocks[7], network.backbone.blocks[7]
    for layer in ("expand", "depthwise"):
        kept = best(whole.get_submodule(layer).conv.weight.abs().sum(dim=(1, 2, 3)), len(block.depthwise.conv.weight))
        assert torch.equal(block.get_submodule(layer).norm.weight, whole.get_submodule(layer).norm.weight[kept])
    rows = best(whole.project.conv.weight.abs().sum(dim=(1, 2, 3)), len(block.project.conv.weight))
    assert torch.equal(block.project.conv.weight, whole.project.conv.weight[rows][:, kept])


def test_seed_copied_chooses_inputs_of_the_detail_branch_by_their_own_norms(network: MODNet) -> None:
    layer, whole = seed_copying.seed_copied(network, 0.3, 0.5).detail.enc2x, network.detail.enc2x
    rows = best(whole.conv.weight.abs().sum(dim=(1, 2, 3)), 16)
    inputs = best(whole.conv.weight.abs().sum(dim=(0, 2, 3)), 19)
    assert torch.equal(layer.conv.weight, whole.conv.weight[rows][:, inputs])
    assert torch.equal(layer.conv.bias, whole.conv.bias[rows])
    assert torch.equal(layer.norm.batch.weight, whole.norm.batch.weight[:8])


def test_seed_settings_cost_what_their_networks_cost(network: MODNet) -> None:
    for setting in islice(seed_copying.seed_settings(network), 8, 10):
        cost = complexity(seed_copying.seed_copied(network, setting.threshold, setting.ratio))
        assert (setting.parameters, setting.macs) == (cost.parameters, cost.macs)


def test_seed_copied_raises_where_the_rule_fails(network: MODNet) -> None:
    with pytest.raises(PruningError, match="ratio 1 is outside"):
        seed_copying.seed_copied(network, 0.3, 1.0)
