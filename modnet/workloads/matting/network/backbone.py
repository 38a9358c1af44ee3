"""MobileNetV2 from its stem to its last 1×1 convolution, and the encoder that MODNet makes of it."""

from typing import NamedTuple

from torch import Tensor, nn

from modnet.workloads.matting.network.blocks import ConvBN, InvertedResidual
from modnet.workloads.matting.network.spec import BackboneSpec, ModnetSpec


class MobileNetV2Backbone(nn.Module):
    """Stem, inverted residual blocks, last 1×1 convolution (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.stem = ConvBN(3, spec.stem_channels, 3, stride=2)
        self.blocks = nn.ModuleList(InvertedResidual(block) for block in spec.blocks)
        self.last = ConvBN(spec.blocks[-1].out_channels, spec.last_channels, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The output of every block, then that of the last convolution: (B, last, H/32, W/32)."""
        x = self.stem(image)  # (B, stem, H/2, W/2)
        at_block = []
        for block in self.blocks:
            x = block(x)
            at_block.append(x)
        return (*at_block, self.last(x))


class EncoderFeatures(NamedTuple):
    """Feature maps (B, c, H/n, W/n) for n = 2, 4 and 32."""

    enc2x: Tensor
    enc4x: Tensor
    enc32x: Tensor


class MobileNetV2Encoder(MobileNetV2Backbone):
    """The backbone as MODNet reads it: at three sizes."""

    def __init__(self, spec: ModnetSpec) -> None:
        super().__init__(spec)
        self.enc2x_block = spec.enc2x_block
        self.enc4x_block = spec.enc4x_block

    def forward(self, image: Tensor) -> EncoderFeatures:
        """Feature maps at 1/2, 1/4 and 1/32 of the image's size."""
        features = super().forward(image)
        return EncoderFeatures(features[self.enc2x_block], features[self.enc4x_block], features[-1])
