"""How much each channel group matters by itself."""

from typing import Self

from pydantic import Field, model_validator

from modnet.config import Config
from modnet.configs.pruning import PruningConfig


class SensitivityConfig(Config):
    """How each channel group's pruning is judged by itself, and what ratios are read off the curves."""

    ratios: tuple[float, ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        min_length=1,
        description="Shares of a group's channels that are tried, above 0 and below 1.",
    )
    images: int = Field(16, ge=1, le=10_000, description="Images of the tune split that errors are measured on.")
    short_side: int = Field(256, ge=32, le=2048, multiple_of=32, description="Short side of the images, in pixels.")
    pruning: PruningConfig = Field(
        PruningConfig(),
        description="Criterion, limits and exclusions. batch_only and the policy are not read: the policy is what the"
        " run looks for.",
    )
    allowed_loss: float = Field(
        0.1, ge=0, le=1000, description="Largest relative rise of the error that pruning a group alone may cause."
    )
    max_macs: int | None = Field(
        None, ge=1, description="Looks for the allowed loss that leaves at most this many MACs for a 512×512 image."
    )

    @model_validator(mode="after")
    def _sane_ratios(self) -> Self:
        if wrong := [ratio for ratio in self.ratios if not 0 < ratio < 1]:
            raise ValueError(f"ratios must be above 0 and below 1, got {wrong}")
        if len(set(self.ratios)) < len(self.ratios):
            raise ValueError(f"ratios must be different, got {list(self.ratios)}")
        return self
