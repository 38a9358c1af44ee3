"""The three networks that the pruning tests run on, with random widths and weights, and random plans for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.backbones.mobilenet_v2 import ConvBN
from modnet.network import ChannelGroup, Consumer, Producer, PrunableNetwork
from modnet.pruning.plan import GroupPlan, PruningPlan
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.matting.network.blocks import resize
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


class EncoderDecoder(PrunableNetwork):
    """A residual block, a depthwise layer at half the size, and a decoder that reads both and the image, concatenated.

    `fine` has a bias before its batch norm, `head` a bias alone, the others a batch norm alone.
    """

    FULL: Mapping[str, int] = {"trunk": 6, "inner": 5, "deep": 8, "fine": 7}
    RADIUS = 13
    """Pixels of the image that an output pixel depends on in each direction."""

    def __init__(self, widths: Mapping[str, int] = FULL) -> None:
        super().__init__()
        self.widths = dict(widths)
        trunk, inner, deep, fine = (self.widths[name] for name in self.FULL)
        self.stem = ConvBN(3, trunk, 3)
        self.enter = ConvBN(trunk, inner, 3)
        self.leave = ConvBN(inner, trunk, 3, activation=False)
        self.down = ConvBN(trunk, deep, 3, stride=2)
        self.depthwise = ConvBN(deep, deep, 3, groups=deep)
        self.fine = nn.Conv2d(deep + trunk + 3, fine, 3, padding=1)
        self.fine_norm = nn.BatchNorm2d(fine)
        self.head = nn.Conv2d(fine, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        trunk = self.stem(image)  # (B, trunk, H, W)
        trunk = trunk + self.leave(self.enter(trunk))
        deep = self.depthwise(self.down(trunk))  # (B, deep, H/2, W/2)
        fine = self.fine_norm(self.fine(torch.cat((resize(deep, 2), trunk, image), dim=1)))  # (B, fine, H, W)
        out: Tensor = self.head(F.relu(fine))  # (B, 2, H, W)
        return out

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        widths = self.widths
        return (
            ChannelGroup(
                "trunk",
                (widths["trunk"],),
                producers=(Producer("stem.conv", "stem.norm"), Producer("leave.conv", "leave.norm")),
                consumers=(Consumer("enter.conv"), Consumer("down.conv"), Consumer("fine", widths["deep"])),
            ),
            ChannelGroup(
                "inner",
                (widths["inner"],),
                producers=(Producer("enter.conv", "enter.norm"),),
                consumers=(Consumer("leave.conv"),),
            ),
            ChannelGroup(
                "deep",
                (widths["deep"],),
                producers=(Producer("down.conv", "down.norm"), Producer("depthwise.conv", "depthwise.norm")),
                consumers=(Consumer("fine"),),
            ),
            ChannelGroup(
                "fine", (widths["fine"],), producers=(Producer("fine", "fine_norm"),), consumers=(Consumer("head"),)
            ),
            ChannelGroup(
                "image",
                (3,),
                consumers=(Consumer("stem.conv"), Consumer("fine", widths["deep"] + widths["trunk"])),
                prunable=False,
            ),
            ChannelGroup("output", (2,), producers=(Producer("head"),), prunable=False),
        )

    def deployed(self) -> Self:
        return self

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        return type(self)({name: sum(widths.get(name, (width,))) for name, width in self.widths.items()})


NETWORKS: Mapping[str, Callable[[], PrunableNetwork]] = {
    "modnet": lambda: MODNet(ModnetSpec.tiny()),
    "mobilenet": lambda: MobileNetV2(MobileNetV2Spec.tiny()),
    "encoder-decoder": EncoderDecoder,
}


NARROWEST: Mapping[torch.dtype, float] = {torch.float64: 0, torch.float32: 0.5}
"""Share of channels that random widths keep at least: float32 loses digits in networks of one or two channels."""


def random_network(kind: str, seed: int, dtype: torch.dtype = torch.float64) -> PrunableNetwork:
    """A network of random widths, up to those of NETWORKS, in which no tensor has its initial constant value."""

    def widths(group: ChannelGroup) -> tuple[int, ...]:
        return tuple(_random_width(part, NARROWEST[dtype]) for part in group.parts)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = NETWORKS[kind]()
        network = network.resized({group.name: widths(group) for group in network.channel_groups() if group.prunable})
        # Scales that keep signals alive: an instance norm of a nearly constant channel is nothing but rounding.
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, 0, 1)
                module.running_mean.normal_(0, 0.5)
                module.running_var.uniform_(0.5, 1.5)
                module.num_batches_tracked.fill_(3)
    return network.to(dtype)


def random_plan(network: PrunableNetwork, seed: int) -> PruningPlan:
    """Every width from the narrowest to all, any of the channels; a fifth of the groups is not named.

    A part behind a group's first loses all in one case of five.
    """
    plans = {}
    narrowest = NARROWEST[next(network.parameters()).dtype]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for group in network.channel_groups():
            if not group.prunable or torch.rand(()) < 0.2:
                continue
            kept, start = [], 0
            for number, part in enumerate(group.parts):
                width = 0 if number and torch.rand(()) < 0.2 else _random_width(part, narrowest)
                kept += sorted(start + i for i in torch.randperm(part)[:width].tolist())
                start += part
            plans[group.name] = GroupPlan(parts=group.parts, kept=tuple(kept))
    return PruningPlan(groups=plans)


def random_images(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """(2, 3, 64, 64) or (2, 3, 64, 96) in [-1, 1], coarse patches and fine noise: features differ at every size."""
    generator = torch.Generator().manual_seed(seed)
    size = (64, 64 + 32 * (seed % 2))
    coarse = F.interpolate(torch.rand(2, 3, 2, 3, dtype=dtype, generator=generator), size)
    return coarse + torch.rand(2, 3, *size, dtype=dtype, generator=generator) - 1


def masks(plan: PruningPlan, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The plan as factors: 1 for a channel that stays, 0 for one that goes."""
    return {name: (~removed).to(dtype) for name, removed in plan.removed().items()}


def outputs(network: PrunableNetwork, images: Tensor) -> tuple[Tensor, ...]:
    """All outputs of a network, whether it has one or several."""
    result = network(images)
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _random_width(channels: int, narrowest: float) -> int:
    return int(torch.randint(max(1, ceil(narrowest * channels)), channels + 1, ()))
