"""A workload of a few layers: how bright an image is at each pixel. It holds the seam between engine and workloads."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.network import ChannelGroup, Consumer, NetworkSpec, Producer, PrunableNetwork
from modnet.workload import Workload


class BrightnessSpec(NetworkSpec):
    features: int

    @classmethod
    def full(cls) -> Self:
        return cls(features=32)

    @classmethod
    def tiny(cls) -> Self:
        return cls(features=8)


class BrightnessPrediction(NamedTuple):
    """brightness: (B, 1, H, W) in [0, 1]."""

    brightness: Tensor


class BrightnessNetwork(PrunableNetwork):
    """Image (B, 3, H, W) in [-1, 1] → brightness (B, 1, H, W) in [0, 1]."""

    workload = "brightness"
    spec: BrightnessSpec

    def __init__(self, spec: BrightnessSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv = nn.Conv2d(3, spec.features, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(spec.features)
        self.head = nn.Conv2d(spec.features, 1, 1)

    def forward(self, image: Tensor) -> BrightnessPrediction:
        return BrightnessPrediction(self.deployed()(image))

    def deployed(self) -> nn.Module:
        return nn.Sequential(self.conv, self.norm, nn.ReLU(), self.head, nn.Sigmoid())

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        return (
            ChannelGroup("image", (3,), consumers=(Consumer("conv"),), prunable=False),
            ChannelGroup("features", (self.spec.features,), (Producer("conv", "norm"),), (Consumer("head"),)),
            ChannelGroup("brightness", (1,), producers=(Producer("head"),), prunable=False),
        )

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        return type(self)(BrightnessSpec(features=sum(widths.get("features", (self.spec.features,)))))


class BrightnessSample(NamedTuple):
    """image: float32 (3, S, S) in [-1, 1].  brightness: float32 (1, S, S) in [0, 1]."""

    image: Tensor
    brightness: Tensor


class DrawnImages:
    """Noise of random colours; a sample depends on (seed, epoch, index)."""

    def __init__(self, count: int, size: int = 64, seed: int = 0) -> None:
        self.count, self.size, self.seed, self.epoch = count, size, seed, 0
        self.folder, self.files = Path(), ()

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def divided(self, parts: int) -> Self:
        return copy.copy(self)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> BrightnessSample:
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch, index)))
        colour = torch.rand(3, 1, 1, generator=generator)
        image = (colour + 0.2 * torch.rand(3, self.size, self.size, generator=generator)).clamp(0, 1)
        return BrightnessSample(2 * image - 1, image.mean(dim=0, keepdim=True))


def brightness_loss(prediction: BrightnessPrediction, batch: BrightnessSample) -> dict[str, Tensor]:
    return {"brightness": F.mse_loss(prediction.brightness, batch.brightness)}


BRIGHTNESS = Workload(
    name=BrightnessNetwork.workload, spec=BrightnessSpec, network=BrightnessNetwork, loss=brightness_loss
)
