"""MobileNetV2, a network of another shape than MODNet: one image in, one score per class out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import PositiveInt
from torch import Tensor, nn

from modnet.backbones.channels import backbone_groups, backbone_widths
from modnet.backbones.mobilenet_v2 import MobileNetV2Backbone
from modnet.backbones.spec import MOBILENET_V2_STAGES, TINY_STAGES, BackboneSpec, inverted_residuals
from modnet.network import ChannelGroup, Consumer, Producer, PrunableNetwork


class MobileNetV2Spec(BackboneSpec):
    """Final channel counts of a MobileNetV2 classifier (Sandler et al. 2018, arXiv 1801.04381)."""

    classes: PositiveInt

    @classmethod
    def full(cls, classes: int = 1000) -> Self:
        """The published network of width 1.0 (3.505 M parameters with 1000 classes)."""
        blocks = inverted_residuals(32, MOBILENET_V2_STAGES)
        return cls(stem_channels=32, blocks=blocks, last_channels=1280, classes=classes)

    @classmethod
    def tiny(cls, classes: int = 10) -> Self:
        """The same shape of network in a few thousand parameters, for tests."""
        return cls(stem_channels=8, blocks=inverted_residuals(8, TINY_STAGES), last_channels=32, classes=classes)


class MobileNetV2(PrunableNetwork):
    """The classifier of Sandler et al. 2018 (arXiv 1801.04381) of the sizes in `spec`, without its dropout.

    Called with an image (B, 3, H, W) in [-1, 1], RGB, H and W from 32 up; returns logits (B, classes).
    """

    spec: MobileNetV2Spec

    def __init__(self, spec: MobileNetV2Spec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = MobileNetV2Backbone(spec)
        self.classifier = nn.Linear(spec.last_channels, spec.classes)

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone(image)[-1]  # (B, last, H/32, W/32)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits

    def deployed(self) -> Self:
        """The whole network."""
        return self

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Which channels can only be removed together; the image's channels and the classes stay."""
        image = ChannelGroup("image", (3,), consumers=(Consumer("backbone.stem.conv"),), prunable=False)
        classes = ChannelGroup("classes", (self.spec.classes,), producers=(Producer("classifier"),), prunable=False)
        return (*backbone_groups(self.spec, last_readers=(Consumer("classifier"),)), image, classes)

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        """A fresh network in which the named groups have the given channels."""
        spec = self.spec.model_copy(update=backbone_widths(self.spec, widths))
        return type(self)(MobileNetV2Spec.model_validate(spec.model_dump()))  # a copy is not validated by itself
