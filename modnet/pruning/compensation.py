"""What a removed channel leaves behind, and the consumers that can take it up."""

import copy
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from modnet.network import ChannelGroup, Network, PrunableNetwork
from modnet.pruning.gates import Removed
from modnet.pruning.groups import held_by_norm


def silenced(model: Network, removed: Removed) -> Network:
    """A copy in which the batch norms of removed channels have scale zero and their shift.

    A removed channel then is constant, whatever the image: its activation at the shift.
    """
    silent = copy.deepcopy(model)
    for group in silent.channel_groups():
        for producer in group.producers if group.name in removed else ():
            if producer.norm is not None:
                scale = silent.get_submodule(producer.norm).get_parameter("weight")
                held = held_by_norm(silent, producer, group)
                with torch.no_grad():
                    scale[torch.tensor(held.positions)[removed[group.name][list(held.channels)]].to(scale.device)] = 0
    return silent


def compensation_for(model: PrunableNetwork, removed: Removed) -> dict[str, Tensor]:
    """Changes of biases and running means, by name, that give consumers what silenced channels would have given them.

    The bias compensation of YOLOv3-model-pruning. A consumer with a bias adds to it, one with a batch norm subtracts
    from its running mean; one with neither takes nothing up. The compact network then equals `silenced(model)`, in
    evaluation mode and away from zero-padded borders, as far as consumers read constants: a channel of which one
    producer has no batch norm (a gate, an instance norm) follows the image, and is removed without a trace. Which
    constants the others are where they are read is looked at, on two random images.
    """
    silent = silenced(model, removed).eval()
    groups = {group.name: group for group in silent.channel_groups()}
    norms = {producer.module: producer.norm for group in groups.values() for producer in group.producers}
    inputs = _inputs_of_consumers(silent, [groups[name] for name in removed])

    changes: dict[str, Tensor] = {}
    for name, goes in removed.items():
        silent_channels = goes & _have_norms(silent, groups[name])
        for consumer in groups[name].consumers:
            layer = silent.get_submodule(consumer.module)
            taken_up = _taken_up(silent, consumer.module, norms.get(consumer.module))
            if taken_up is None:
                continue
            tensor, length, sign = taken_up
            held = consumer.held(groups[name].channels)
            own = list(held.positions)
            values = (
                inputs[consumer.module].movedim(1 if isinstance(layer, _ConvNd) else -1, 0)[own].flatten(start_dim=1)
            )
            low, high = values.aminmax(dim=1)  # of all reads of each of these inputs
            is_constant = high - low <= 1e-5 * (1 + high.abs())
            constants = torch.where(silent_channels[list(held.channels)].to(values.device) & is_constant, high, 0)
            weight = layer.get_parameter("weight").detach()[:, own]  # and a kernel
            per_channel = weight.reshape(len(weight), len(constants), -1).sum(dim=2)  # all positions read the constant
            change = sign * (per_channel @ constants)[:length]
            changes[tensor] = changes[tensor] + change if tensor in changes else change
    return changes


def _have_norms(model: nn.Module, group: ChannelGroup) -> Tensor:
    """(channels,), True for those of a group that have a batch norm behind every producer."""
    have = torch.ones(group.channels, dtype=torch.bool)
    for producer in group.producers:
        held = torch.zeros(group.channels, dtype=torch.bool)
        held[list(held_by_norm(model, producer, group).channels)] = True
        have &= held
    return have


def _taken_up(model: nn.Module, path: str, norm: str | None) -> tuple[str, int, int] | None:
    """Name and length of the tensor that can shift a layer's output by a constant, and the sign."""
    layer, parameters = model.get_submodule(path), dict(model.get_submodule(path).named_parameters())
    if isinstance(layer, _ConvNd) and (layer.groups > 1 or layer.transposed):
        return None  # a constant input does not make a constant output of it
    if "bias" in parameters:
        return f"{path}.bias", len(parameters["bias"]), +1
    if norm is not None:
        return f"{norm}.running_mean", len(model.get_submodule(norm).get_buffer("running_mean")), -1
    return None


def _inputs_of_consumers(model: PrunableNetwork, groups: list[ChannelGroup]) -> dict[str, Tensor]:
    """What the consumers of the groups read of two random images, by layer: (2, C, H, W) or (2, C)."""
    inputs: dict[str, Tensor] = {}

    def remember(path: str, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs[path] = arguments[0]

    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(2, one.channels, 64, 64, dtype=parameter.dtype, generator=generator) for one in model.inputs]
    with ExitStack() as hooks, torch.inference_mode():
        for path in {consumer.module for group in groups for consumer in group.consumers}:
            hooks.enter_context(model.get_submodule(path).register_forward_pre_hook(partial(remember, path)))
        model(*(image.to(parameter.device) * 2 - 1 for image in images))
    return inputs
