"""Factors on channels where their consumers read them: what the pruning law, Taylor scores and sensitivities share."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modnet.network import PrunableNetwork

Removed = Mapping[str, Tensor]  # group name → bool (channels,), True for a channel that is gone


@contextmanager
def gated(model: PrunableNetwork, factors: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block `model` multiplies each named group's value by its factors as every consumer reads it.

    After norm, activation and residual add: a factor of zero is a channel that is not there, the rest of the network as
    it was. Factors by group name are (channels,), the same for all images, or (B, channels).
    """
    groups = {group.name: group for group in model.channel_groups()}
    with ExitStack() as hooks:
        for name, factor in factors.items():
            for consumer in groups[name].consumers:
                module = model.get_submodule(consumer.module)
                hooks.enter_context(module.register_forward_pre_hook(partial(_multiply, factor, consumer.offset)))
        yield


def _multiply(factor: Tensor, offset: int, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    x: Tensor = inputs[0]  # (B, C, H, W) or (B, C)
    end = offset + factor.shape[-1]
    read = x[:, offset:end] * factor.reshape(*factor.shape, *(1,) * (x.dim() - 2))
    if read.shape[1] == x.shape[1]:
        return (read,)
    before, after = (part.expand(len(read), *part.shape[1:]) for part in (x[:, :offset], x[:, end:]))
    return (torch.cat((before, read, after), dim=1),)
