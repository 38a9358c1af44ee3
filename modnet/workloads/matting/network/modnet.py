"""MODNet: one image in, three mattes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from torch import Tensor, nn

from modnet.errors import ConfigError
from modnet.network import ChannelGroup, PrunableNetwork
from modnet.workloads.matting.network.backbone import MobileNetV2Encoder
from modnet.workloads.matting.network.branches import DetailBranch, FusionBranch, SemanticBranch
from modnet.workloads.matting.network.groups import channel_groups, with_widths
from modnet.workloads.matting.network.spec import ModnetSpec


class MattePrediction(NamedTuple):
    """What MODNet says of a batch; every value in [0, 1]."""

    semantic: Tensor  # (B, 1, H/16, W/16)
    detail: Tensor  # (B, 1, H, W)
    alpha: Tensor  # (B, 1, H, W)


class MatteOnly(nn.Module):
    """The deployed graph: image (B, 3, H, W) in [-1, 1] → alpha (B, 1, H, W) in [0, 1], without training's two heads.

    It shares its weights with the network it was made from.
    """

    def __init__(self, network: MODNet) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.semantic = network.semantic
        self.detail = network.detail
        self.fusion = network.fusion

    def forward(self, image: Tensor) -> Tensor:
        enc2x, enc4x, enc32x = self.backbone(image)
        lr8x = self.semantic(enc32x)
        hr2x = self.detail(image, enc2x, enc4x, lr8x)
        alpha: Tensor = self.fusion(image, lr8x, hr2x)
        return alpha


class MODNet(PrunableNetwork):
    """Trimap-free portrait matting (Ke et al. 2022, arXiv 2011.11961) of the sizes in `spec`.

    Called with an image (B, 3, H, W) in [-1, 1], RGB, H and W multiples of 32.
    """

    workload = "matting"
    spec: ModnetSpec

    def __init__(self, spec: ModnetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = MobileNetV2Encoder(spec)
        self.semantic = SemanticBranch(spec)
        self.detail = DetailBranch(spec)
        self.fusion = FusionBranch(spec)

    def forward(self, image: Tensor) -> MattePrediction:
        height, width = image.shape[-2:]
        if height % 32 or width % 32:
            raise ConfigError(f"the network reads images whose sides are multiples of 32, got {height}x{width}")
        enc2x, enc4x, enc32x = self.backbone(image)
        lr8x = self.semantic(enc32x)
        hr2x = self.detail(image, enc2x, enc4x, lr8x)
        return MattePrediction(
            semantic=self.semantic.predict(lr8x),
            detail=self.detail.predict(image, hr2x),
            alpha=self.fusion(image, lr8x, hr2x),
        )

    def deployed(self) -> MatteOnly:
        """The part of this network that is deployed."""
        return MatteOnly(self)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Which channels can only be removed together."""
        return channel_groups(self.spec)

    def pretrained_part(self) -> nn.Module:
        """The backbone, which had learnt from ImageNet."""
        return self.backbone

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        """A fresh network in which the named groups have the given channels per part."""
        return type(self)(with_widths(self.spec, widths))
