"""The sizes of a MobileNetV2 from its stem to its last 1×1 convolution, as final numbers."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

from modnet.network import NetworkSpec

# MobileNetV2 1.0 (Sandler et al. 2018, arXiv 1801.04381, table 2): expansion, channels, repeats, first stride.
MOBILENET_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
TINY_STAGES = ((1, 8, 1, 1), (2, 8, 2, 2), (2, 8, 2, 2), (2, 16, 2, 2), (2, 16, 1, 2))

Stages = Sequence[tuple[int, int, int, int]]  # (expansion, channels, repeats, first stride) of each run of blocks


class BlockSpec(BaseModel, frozen=True, extra="forbid"):
    """One inverted residual block: expand 1×1 → depthwise 3×3 → project 1×1."""

    in_channels: PositiveInt
    hidden_channels: PositiveInt
    out_channels: PositiveInt
    stride: int = Field(ge=1, le=2)
    expands: bool = Field(description="False: no expand convolution, the depthwise one reads the input directly")
    residual: bool = Field(description="the input is added to the output")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.expands and self.hidden_channels != self.in_channels:
            got = f"{self.hidden_channels} and {self.in_channels}"
            raise ValueError(f"a block without expand convolution has as many hidden as input channels, got {got}")
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            got = f"stride {self.stride}, {self.in_channels} -> {self.out_channels} channels"
            raise ValueError(f"a residual block needs stride 1 and equal widths, got {got}")
        return self


class BackboneSpec(NetworkSpec):
    """Final channel counts of a MobileNetV2 from its stem to its last 1×1 convolution, at 1/32 of the input size."""

    stem_channels: PositiveInt
    blocks: tuple[BlockSpec, ...] = Field(min_length=1)
    last_channels: PositiveInt

    @model_validator(mode="after")
    def _chained(self) -> Self:
        width = self.stem_channels
        for index, block in enumerate(self.blocks):
            if block.in_channels != width:
                raise ValueError(f"block {index} reads {block.in_channels} channels, but {width} arrive there")
            width = block.out_channels
        if self.strides()[-1] != 32:
            raise ValueError(f"the backbone must end at 1/32 of the input size, got 1/{self.strides()[-1]}")
        return self

    def strides(self) -> list[int]:
        """Input size over output size of every block."""
        return list(accumulate((block.stride for block in self.blocks), mul, initial=2))[1:]


def inverted_residuals(stem_channels: int, stages: Stages) -> tuple[BlockSpec, ...]:
    """The blocks of an unpruned MobileNetV2; one that is not the first of its stage has a skip."""
    blocks: list[BlockSpec] = []
    width = stem_channels
    for expansion, channels, repeats, first_stride in stages:
        for repeat in range(repeats):
            blocks.append(
                BlockSpec(
                    in_channels=width,
                    hidden_channels=width * expansion,
                    out_channels=channels,
                    stride=first_stride if repeat == 0 else 1,
                    expands=expansion != 1,
                    residual=repeat > 0,
                )
            )
            width = channels
    return tuple(blocks)
