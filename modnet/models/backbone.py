"""The MobileNetV2 encoder."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from modnet.models.blocks import ConvBN, InvertedResidual
from modnet.spec import ModnetSpec


class EncoderFeatures(NamedTuple):
    """Feature maps (B, c, H/n, W/n) for n = 2, 4 and 32."""

    enc2x: Tensor
    enc4x: Tensor
    enc32x: Tensor


class MobileNetV2Encoder(nn.Module):
    """MobileNetV2 up to its last 1×1 convolution (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, spec: ModnetSpec) -> None:
        super().__init__()
        self.enc2x_block = spec.enc2x_block
        self.enc4x_block = spec.enc4x_block
        self.stem = ConvBN(3, spec.stem_channels, 3, stride=2)
        self.blocks = nn.ModuleList(InvertedResidual(block) for block in spec.blocks)
        self.last = ConvBN(spec.blocks[-1].out_channels, spec.last_channels, 1)

    def forward(self, image: Tensor) -> EncoderFeatures:
        x = self.stem(image)  # (B, stem, H/2, W/2)
        at_block = []
        for block in self.blocks:
            x = block(x)
            at_block.append(x)
        return EncoderFeatures(at_block[self.enc2x_block], at_block[self.enc4x_block], self.last(x))
