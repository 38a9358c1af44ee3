"""The deployed network with everything folded into its convolutions that can be."""

from __future__ import annotations

import copy

from torch import nn

from modnet.network import FoldableLayer, PrunableNetwork


def folded(network: PrunableNetwork) -> nn.Module:
    """A copy of the deployed part in evaluation mode, float32 on the CPU, that computes the same with fewer layers."""
    model = copy.deepcopy(network).cpu().float().deployed().eval()
    for module in model.modules():
        if isinstance(module, FoldableLayer):
            module.fold()
    return model
