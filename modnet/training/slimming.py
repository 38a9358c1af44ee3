"""Sparse training: an L1 penalty on batch-norm scales separates channels that matter from channels that can go.

Network slimming (Liu et al. 2017, arXiv 1708.06519): after it, pruning by `bn_scale` under a global threshold removes
little that the network uses.
"""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from modnet.configs import SparsityConfig
from modnet.errors import ConfigError
from modnet.network import PrunableNetwork
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
    factors = {"constant": 1.0, "ramp": progress, "ramp-decay": 1 - abs(2 * progress - 1)}
    return config.strength * factors[config.schedule]


def prunable_scales(network: PrunableNetwork) -> dict[str, nn.Parameter]:
    """Gamma of every batch norm behind a layer that produces a prunable group's channels, if it trains; by norm."""
    scales = {
        producer.norm: network.get_submodule(producer.norm).get_parameter("weight")
        for group in network.channel_groups()
        if group.prunable
        for producer in group.producers
        if producer.norm is not None
    }
    return {norm: gamma for norm, gamma in scales.items() if gamma.requires_grad}


def matching_norms(norms: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The first norm, and those whose name fits one of the shell patterns; each once, in order of `norms`.

    Raises:
        ConfigError: a pattern fits none; names what comes nearest.
    """
    names = list(norms)
    chosen = set(names[:1])
    for pattern in patterns:
        found = fnmatch.filter(names, pattern)
        if not found:
            such = ", ".join(difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3])
            raise ConfigError(f"pattern {pattern!r} names no norm that sparse training pulls; such are {such}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def add_penalty(scales: Iterable[nn.Parameter], strength: float) -> None:
    """Adds strength · sign(gamma), the sub-gradient of strength · |gamma|, to the gradients; call it after backward."""
    for gamma in scales:
        assert gamma.grad is not None
        gamma.grad.add_(gamma.detach().sign(), alpha=strength)


def scale_distribution(scales: Mapping[str, nn.Parameter]) -> ScaleDistribution:
    """Histogram and quintiles of |gamma| over all channels of all `scales`, and of those of each norm by itself."""
    magnitudes = {norm: gamma.detach().cpu().double().abs() for norm, gamma in scales.items()}
    whole = _distribution(torch.cat(list(magnitudes.values())))
    return whole.model_copy(update={"norms": {norm: _distribution(values) for norm, values in magnitudes.items()}})


def _distribution(values: Tensor) -> ScaleDistribution:
    edges = torch.tensor(SCALE_BINS, dtype=values.dtype)
    bins = torch.bucketize(values, edges[1:-1])
    shares = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0], dtype=values.dtype)
    return ScaleDistribution(
        counts=tuple(bins.bincount(minlength=len(SCALE_BINS) - 1).tolist()),
        quintiles=tuple(values.quantile(shares).tolist()),
    )
