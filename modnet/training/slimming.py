"""Sparse training: an L1 penalty on batch-norm scales separates channels that matter from channels that can go.

Network slimming (Liu et al. 2017, arXiv 1708.06519): after it, pruning by `bn_scale` under a global threshold removes
little that the network uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from modnet.configs import SparsityConfig
from modnet.pruning.groups import PrunableNetwork
from modnet.records import ScaleDistribution

SCALE_BINS: tuple[float, ...] = tuple(10 ** (exponent / 4) for exponent in range(-16, 5))
"""Edges of the 20 bins of a histogram of |gamma|: four per factor of ten, from 0.0001 to 10."""


def strength_at(config: SparsityConfig, progress: float) -> float:
    """Strength of the penalty at `progress` in [0, 1).

    `constant` is network slimming's own. `ramp` lets the network adapt before the pull is strong, as in growing
    regularisation (Wang et al. 2021, arXiv 2012.09243). `ramp-decay` then lets what is left recover from it.

    >>> [strength_at(SparsityConfig(strength=0.5, schedule="ramp-decay"), p) for p in (0.0, 0.25, 0.5, 0.75)]
    [0.0, 0.25, 0.5, 0.25]
    """
    factors: Mapping[Literal["constant", "ramp", "ramp-decay"], float] = {
        "constant": 1.0,
        "ramp": progress,
        "ramp-decay": 1 - abs(2 * progress - 1),
    }
    return config.strength * factors[config.schedule]


def prunable_scales(network: PrunableNetwork) -> list[nn.Parameter]:
    """Gamma of every batch norm behind a layer that produces a prunable group's channels, if it trains."""
    scales = [
        network.get_submodule(producer.norm).get_parameter("weight")
        for group in network.channel_groups()
        if group.prunable
        for producer in group.producers
        if producer.norm is not None
    ]
    return [gamma for gamma in scales if gamma.requires_grad]


def add_penalty(scales: list[nn.Parameter], strength: float) -> None:
    """Adds strength · sign(gamma), the sub-gradient of strength · |gamma|, to the gradients; call it after backward."""
    for gamma in scales:
        assert gamma.grad is not None
        gamma.grad.add_(gamma.detach().sign(), alpha=strength)


def scale_distribution(scales: list[nn.Parameter]) -> ScaleDistribution:
    """Histogram and quintiles of |gamma| over all channels of all `scales`."""
    values = _magnitudes(scales)
    edges = torch.tensor(SCALE_BINS, dtype=values.dtype)
    bins = torch.bucketize(values, edges[1:-1])
    shares = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0], dtype=values.dtype)
    return ScaleDistribution(
        counts=tuple(bins.bincount(minlength=len(SCALE_BINS) - 1).tolist()),
        quintiles=tuple(values.quantile(shares).tolist()),
    )


def _magnitudes(scales: list[nn.Parameter]) -> Tensor:
    return torch.cat([gamma.detach().cpu().double().abs() for gamma in scales])
