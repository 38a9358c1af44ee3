"""The baseline of the ranking benchmark copies as MODNet-ModelCompression does: each layer its own best filters."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from benchmarks.modelcompression.copying import buildable_settings, copied_network
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


def test_copied_network_is_the_network_itself_when_nothing_goes(network: MODNet) -> None:
    copied = copied_network(network, 1e-9, 0.0)
    assert copied.spec == network.spec
    state = copied.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_copied_network_lets_expand_and_depthwise_choose_for_themselves(network: MODNet) -> None:
    block, whole = copied_network(network, 0.3, 0.5).backbone.blocks[7], network.backbone.blocks[7]
    for layer in ("expand", "depthwise"):
        kept = best(whole.get_submodule(layer).conv.weight.abs().sum(dim=(1, 2, 3)), len(block.depthwise.conv.weight))
        assert torch.equal(block.get_submodule(layer).norm.weight, whole.get_submodule(layer).norm.weight[kept])
    rows = best(whole.project.conv.weight.abs().sum(dim=(1, 2, 3)), len(block.project.conv.weight))
    assert torch.equal(block.project.conv.weight, whole.project.conv.weight[rows][:, kept])


def test_copied_network_chooses_inputs_of_the_detail_branch_by_their_own_norms(network: MODNet) -> None:
    layer, whole = copied_network(network, 0.3, 0.5).detail.enc2x, network.detail.enc2x
    rows = best(whole.conv.weight.abs().sum(dim=(1, 2, 3)), 16)
    inputs = best(whole.conv.weight.abs().sum(dim=(0, 2, 3)), 19)
    assert torch.equal(layer.conv.weight, whole.conv.weight[rows][:, inputs])
    assert torch.equal(layer.conv.bias, whole.conv.bias[rows])
    assert torch.equal(layer.norm.batch.weight, whole.norm.batch.weight[:8])


def test_buildable_settings_cost_what_their_networks_cost(network: MODNet) -> None:
    for setting in islice(buildable_settings(network), 8, 10):
        cost = complexity(copied_network(network, setting.threshold, setting.ratio))
        assert (setting.parameters, setting.macs) == (cost.parameters, cost.macs)


def test_copied_network_raises_where_the_rule_fails(network: MODNet) -> None:
    with pytest.raises(PruningError, match="ratio 1 is outside"):
        copied_network(network, 0.3, 1.0)
