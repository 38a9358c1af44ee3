"""How important each channel is. One function per published criterion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modnet.pruning.groups import ChannelGroup


def l1(model: nn.Module, group: ChannelGroup) -> Tensor:
    """L1 norm of the weights that make each channel (Li et al. 2017, arXiv 1608.08710), summed over the group.

    Every producer has an equal say: its norms are divided by their mean before they are added, since a depthwise
    filter of 9 weights would otherwise count for nothing beside an expand filter of 960.

    Returns:
        Float64 scores (group.channels,), at least 0.
    """
    scores = torch.zeros(group.channels, dtype=torch.float64)
    for path in group.producers:
        weight = model.get_submodule(path).get_parameter("weight").detach().double()
        norms = weight.abs().flatten(start_dim=1).sum(dim=1)
        mean = norms.mean()
        scores += norms / mean if mean > 0 else norms
    return scores
