"""Factors on channels where their consumers read them: what the pruning law, Taylor scores and sensitivities share."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modnet.network import Held, PrunableNetwork

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
                module, held = model.get_submodule(consumer.module), consumer.held(groups[name].channels)
                hooks.enter_context(module.register_forward_pre_hook(partial(_multiply, factor, held)))
        yield


def _multiply(factor: Tensor, held: Held, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    x: Tensor = inputs[0]  # (B, C, H, W); (B, …, C) of a linear layer
    axis = x.dim() - 1 if isinstance(module, nn.Linear) else 1
    factor = factor[..., list(held.channels)] if held.channels != range(factor.shape[-1]) else factor
    ones = factor.new_ones(*factor.shape[:-1], x.shape[axis])
    whole = ones.index_copy(-1, torch.tensor(held.positions, device=factor.device), factor)
    batch = whole.shape[:-1]  # () or (B,)
    shape = [*batch, *[1] * (x.dim() - len(batch))]
    shape[axis] = x.shape[axis]
    return (x * whole.reshape(shape),)
