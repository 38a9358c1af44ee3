"""How training images are changed at random."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from modnet.config import Config


class AugmentationConfig(Config):
    """How training images are changed at random; a strength or probability of 0 is off."""

    crops: bool = Field(
        True,
        description="Square crops at the person's border, aspect kept. Off: the whole image, squeezed to a square.",
    )
    smallest_crop: float = Field(0.5, gt=0, le=1, description="Side of the smallest crop, as share of the short side.")
    largest_crop: float = Field(
        1.0,
        gt=0,
        le=2,
        description="Side of the largest crop, as share of the short side. Above 1 a crop reaches over the image's "
        "edge and is filled as a letterbox is: it shows the whole person.",
    )
    flip: float = Field(0.5, ge=0, le=1, description="Probability of mirroring left and right.")
    colour: float = Field(
        1.0, ge=0, le=3, description="Strength of changes of brightness (15 % at 1), contrast (20 %) and colour (8 %)."
    )
    blur: float = Field(0.1, ge=0, le=1, description="Probability of a slight blur, as out of focus.")
    jpeg: float = Field(0.2, ge=0, le=1, description="Probability of compression as JPEG, quality 40 to 90.")
    background: float = Field(
        0.2, ge=0, le=1, description="Probability of another background, drawn or cut from another image."
    )

    @model_validator(mode="after")
    def _ordered_crops(self) -> Self:
        if self.smallest_crop > self.largest_crop:
            raise ValueError(
                f"smallest_crop must be at most largest_crop, got {self.smallest_crop:g} and {self.largest_crop:g}"
            )
        return self

    @classmethod
    def none(cls) -> Self:
        """The whole image, squeezed into a square and otherwise as it is: the original trainer's samples."""
        return cls(crops=False, flip=0, colour=0, blur=0, jpeg=0, background=0)
