"""The deployed network with everything folded into its convolutions that can be."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modnet.pruning.groups import PrunableNetwork
from modnet.workloads.matting.network.blocks import ConvBN, ConvIBNormReLU


def folded(network: PrunableNetwork) -> nn.Module:
    """A copy of the deployed part in evaluation mode, float32 on the CPU, that computes the same with fewer layers.

    Batch norms become part of the convolution before them, also those on the first channels only. The bias of a channel
    that an instance norm reads is 0: the norm subtracts the channel's mean and the bias with it, and where the bias is
    large against the deviation, the sums of the norm lose digits to it.
    """
    model = copy.deepcopy(network).cpu().float().deployed().eval()
    for module in model.modules():
        if isinstance(module, ConvBN):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]  # its neutral element
        elif isinstance(module, ConvIBNormReLU):
            _fold_into(module)
    return model


@torch.no_grad()
def _fold_into(layer: ConvIBNormReLU) -> None:
    conv, norm = layer.conv, layer.norm
    assert conv.bias is not None
    split = norm.batch_channels
    conv.bias[split:] = 0.0
    if norm.batch is not None:
        batch = norm.batch
        assert batch.running_mean is not None
        assert batch.running_var is not None
        # y = γ (w·x + b - μ) / √(σ² + ε) + β
        scale = batch.weight / torch.sqrt(batch.running_var + batch.eps)
        conv.weight[:split] *= scale[:, None, None, None]
        conv.bias[:split] = (conv.bias[:split] - batch.running_mean) * scale + batch.bias
        norm.batch = nn.Identity()  # type: ignore[assignment]  # its neutral element
