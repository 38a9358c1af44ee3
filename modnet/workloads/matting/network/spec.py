"""The architecture of one MODNet as final numbers.

How many channels each layer has and which blocks keep their skip; policies (`modnet.policies`) turn ratios into counts.
"""

from typing import Any, Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

from modnet.backbones.spec import MOBILENET_V2_STAGES, TINY_STAGES, BackboneSpec, Stages, inverted_residuals


class SplitWidth(BaseModel, frozen=True, extra="forbid"):
    """Channels of a layer normalised by IBNorm: the first part by batch norm, the rest by instance norm."""

    batch: int = Field(ge=0)
    instance: int = Field(ge=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.total < 1:
            raise ValueError("a layer needs at least 1 channel, got batch 0 and instance 0")
        return self

    @property
    def total(self) -> int:
        """Channels of the layer."""
        return self.batch + self.instance

    @classmethod
    def halves(cls, channels: int) -> Self:
        """The split of the published network: floor(channels / 2) by batch norm, the rest by instance norm."""
        return cls(batch=channels // 2, instance=channels - channels // 2)


class ModnetSpec(BackboneSpec):
    """Final channel counts of every layer of a MODNet (Ke et al. 2022, arXiv 2011.11961).

    The fields stand in the order in which an image meets the layers. `enc2x_block` and `enc4x_block` are the indices
    (from 0) of the blocks whose outputs, at 1/2 and 1/4 of the input size, feed the detail branch.
    """

    enc2x_block: int = Field(ge=0)
    enc4x_block: int = Field(ge=0)

    # semantic branch (LR)
    squeeze_channels: PositiveInt
    lr16x: SplitWidth
    lr8x: SplitWidth

    # detail branch (HR)
    to_enc2x: SplitWidth
    enc2x: SplitWidth
    to_enc4x: SplitWidth
    enc4x: SplitWidth
    hr4x: tuple[SplitWidth, SplitWidth, SplitWidth]
    hr2x: tuple[SplitWidth, SplitWidth, SplitWidth, SplitWidth]
    detail_head: SplitWidth

    # fusion branch (F)
    lr4x: SplitWidth
    f2x: SplitWidth
    fusion_head: SplitWidth

    @model_validator(mode="after")
    def _tapped(self) -> Self:
        for name, index, wanted in (("enc2x_block", self.enc2x_block, 2), ("enc4x_block", self.enc4x_block, 4)):
            if index >= len(self.blocks) or self.strides()[index] != wanted:
                raise ValueError(f"{name} = {index} is not a block with output at 1/{wanted} of the input size")
        return self

    @classmethod
    def full(cls) -> Self:
        """The published network: MobileNetV2 1.0 and detail width 32 (6.487 M parameters)."""
        return cls.from_widths(stem=32, stages=MOBILENET_V2_STAGES, last=1280, lr16x=96, lr8x=32, detail=32)

    @classmethod
    def tiny(cls) -> Self:
        """The same shape of network in about 20 k parameters, for tests."""
        return cls.from_widths(stem=8, stages=TINY_STAGES, last=32, lr16x=16, lr8x=8, detail=8)

    @classmethod
    def from_widths(cls, *, stem: int, stages: Stages, last: int, lr16x: int, lr8x: int, detail: int) -> Self:
        """An unpruned network from the stages of its backbone and the widths of its branches."""
        return cls(
            stem_channels=stem,
            blocks=inverted_residuals(stem, stages),
            enc2x_block=stages[0][2] - 1,
            enc4x_block=stages[0][2] + stages[1][2] - 1,
            last_channels=last,
            squeeze_channels=last // 4,
            lr16x=SplitWidth.halves(lr16x),
            lr8x=SplitWidth.halves(lr8x),
            **detail_widths(detail),
        )


def detail_widths(width: int) -> dict[str, Any]:
    """Spec fields of the detail and fusion branches for one common width (32 in the published network)."""
    half, one, two = (SplitWidth.halves(max(1, c)) for c in (width // 2, width, 2 * width))
    return {
        "to_enc2x": one,
        "enc2x": one,
        "to_enc4x": one,
        "enc4x": two,
        "hr4x": (two, two, one),
        "hr2x": (two, one, one, one),
        "detail_head": one,
        "lr4x": one,
        "f2x": one,
        "fusion_head": half,
    }
