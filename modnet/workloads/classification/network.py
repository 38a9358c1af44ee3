"""MobileNetV2 as a classifier: one image in, one logit per class out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from modnet.backbones.channels import backbone_groups, backbone_widths
from modnet.backbones.mobilenet_v2 import MobileNetV2Backbone
from modnet.backbones.spec import MOBILENET_V2_STAGES, TINY_STAGES, BackboneSpec, inverted_residuals
from modnet.network import ChannelGroup, Consumer, Producer, PrunableNetwork


def numbered(count: int) -> tuple[str, ...]:
    """Names of classes that nobody named."""
    return tuple(str(number) for number in range(count))


class MobileNetV2Spec(BackboneSpec):
    """Final channel counts of a MobileNetV2 classifier (Sandler et al. 2018, arXiv 1801.04381), and its classes."""

    classes: tuple[str, ...] = Field(min_length=2)  # in the order of the logits

    @model_validator(mode="after")
    def _distinct_classes(self) -> Self:
        if twice := sorted({name for name in self.classes if self.classes.count(name) > 1})[:5]:
            raise ValueError(f"classes must have names of their own, got several of {twice}")
        return self

    @classmethod
    def full(cls, classes: Sequence[str] = numbered(1000)) -> Self:
        """The published network of width 1.0 (3.505 M parameters with 1000 classes)."""
        blocks = inverted_residuals(32, MOBILENET_V2_STAGES)
        return cls(stem_channels=32, blocks=blocks, last_channels=1280, classes=tuple(classes))

    @classmethod
    def tiny(cls, classes: Sequence[str] = numbered(10)) -> Self:
        """The same shape of network in a few thousand parameters, for tests."""
        blocks = inverted_residuals(8, TINY_STAGES)
        return cls(stem_channels=8, blocks=blocks, last_channels=32, classes=tuple(classes))


class ClassPrediction(NamedTuple):
    """What a classifier says of a batch: logits (B, classes), whose softmax are the shares of the classes."""

    logits: Tensor


class LogitsOnly(nn.Module):
    """The deployed graph: image (B, 3, H, W) in [-1, 1] → logits (B, classes). It shares its weights."""

    def __init__(self, network: MobileNetV2) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.classifier = network.classifier

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone(image)[-1]  # (B, last, H/32, W/32)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class MobileNetV2(PrunableNetwork):
    """The classifier of Sandler et al. 2018 (arXiv 1801.04381) of the sizes in `spec`, without its dropout.

    Called with an image (B, 3, H, W) in [-1, 1], RGB, H and W from 32 up.
    """

    workload = "classification"
    spec: MobileNetV2Spec

    def __init__(self, spec: MobileNetV2Spec) -> None:
        super().__init__()
        self.spec = spec
        self.output_names = spec.classes
        self.backbone = MobileNetV2Backbone(spec)
        self.classifier = nn.Linear(spec.last_channels, len(spec.classes))

    def forward(self, image: Tensor) -> ClassPrediction:
        return ClassPrediction(self.deployed()(image))

    def deployed(self) -> LogitsOnly:
        """All of it."""
        return LogitsOnly(self)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """Which channels can only be removed together; the image's channels and the classes stay."""
        image = ChannelGroup("image", (3,), consumers=(Consumer("backbone.stem.conv"),), prunable=False)
        count = len(self.spec.classes)
        classes = ChannelGroup("classes", (count,), producers=(Producer("classifier"),), prunable=False)
        return (*backbone_groups(self.spec, last_readers=(Consumer("classifier"),)), image, classes)

    def pretrained_part(self) -> nn.Module:
        """The backbone, which may have learnt from ImageNet."""
        return self.backbone

    def resized(self, widths: Mapping[str, tuple[int, ...]]) -> Self:
        """A fresh network in which the named groups have the given channels."""
        spec = self.spec.model_copy(update=backbone_widths(self.spec, widths))
        return type(self)(MobileNetV2Spec.model_validate(spec.model_dump()))  # a copy is not validated by itself
