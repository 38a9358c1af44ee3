"""The encoder that MODNet makes of a MobileNetV2."""

from typing import NamedTuple

from torch import Tensor

from modnet.backbones.mobilenet_v2 import MobileNetV2Backbone
from modnet.workloads.matting.network.spec import ModnetSpec


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
