"""Folding changes no output, only the layers that make it."""

from __future__ import annotations

import torch
from torch import nn

from modnet.network import folded
from modnet.workloads.matting.network.blocks import ConvIBNormReLU
from modnet.workloads.matting.network.modnet import MODNet


def test_folded_computes_the_network_without_batch_norms_and_leaves_it_alone(any_exported) -> None:
    network: MODNet = any_exported.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    simple = folded(network)
    with torch.inference_mode():
        torch.testing.assert_close(simple(image), network.deployed()(image), rtol=0, atol=2e-5)
    assert not [module for module in simple.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_folded_drops_biases_that_an_instance_norm_cancels(network: MODNet) -> None:
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, ConvIBNormReLU):
                layer.conv.bias[layer.norm.batch_channels :] = 1000.0
    for layer in folded(network).modules():
        if isinstance(layer, ConvIBNormReLU):
            assert not layer.conv.bias[layer.norm.batch_channels :].any()
