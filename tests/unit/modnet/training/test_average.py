"""The running average of weights, worked out by hand."""

import torch

from modnet.training.average import WeightAverage
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


def test_update_moves_by_what_the_decay_leaves() -> None:
    network = MODNet(ModnetSpec.tiny())
    weight = network.fusion.head.weight
    with torch.no_grad():
        weight.fill_(1.0)
        average = WeightAverage(network, decay=0.5)
        weight.fill_(3.0)
    average.update(network, step=0)  # decay at most 1/10: 1 + 0.9 * 2
    torch.testing.assert_close(average.network.fusion.head.weight, torch.full_like(weight, 2.8))
    average.update(network, step=1000)  # 2.8 + 0.5 * 0.2
    torch.testing.assert_close(average.network.fusion.head.weight, torch.full_like(weight, 2.9))
    assert not average.network.training


def test_update_takes_everything_when_nothing_is_averaged() -> None:
    network = MODNet(ModnetSpec.tiny()).train()
    average = WeightAverage(network, decay=0.0)
    network(torch.rand(2, 3, 64, 64))  # moves running statistics
    average.update(network, step=5)
    assert all(torch.equal(t, average.network.state_dict()[n]) for n, t in network.state_dict().items())
