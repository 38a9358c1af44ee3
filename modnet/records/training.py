"""How a training goes and went."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import AliasChoices, Field

from modnet.records.record import Record


class ScaleDistribution(Record):
    """|gamma| of the batch norms of all prunable channels at one moment (see `modnet.training.slimming`)."""

    counts: tuple[int, ...] = Field(description="channels per bin of SCALE_BINS, the outermost open to the outside")
    quintiles: tuple[float, ...] = Field(description="what 20, 40, 60, 80 and 100 % of the channels do not exceed")
    norms: dict[str, ScaleDistribution] = Field({}, description="the same of each norm by itself, by its module's name")


class EpochReport(Record):
    """One pass over the training images."""

    losses: dict[str, float] = Field(description="by term, in the mean over steps")
    learning_rate: float = Field(ge=0, description="of the last step")
    tune_error: float | None = Field(
        None,
        validation_alias=AliasChoices("tune_error", "tune_mse"),  # as version 0.1.0 wrote it
        description="of the averaged weights; None where it was not measured",
    )

    @property
    def loss(self) -> float:
        """What was minimised: the sum of all terms."""
        return math.fsum(self.losses.values())


class TrainingReport(Record):
    """How a training run went."""

    steps: int = Field(ge=0)
    images_seen: int = Field(ge=0)
    history: tuple[EpochReport, ...] = Field(description="one for every epoch; fewer than asked for after early stop")
    best_epoch: int | None = Field(ge=1, description="whose weights were kept; None: the last, without validation")
    precision: Literal["fp32", "bf16"]
    batch_parts: int = Field(
        1, ge=1, description="pieces that each batch was computed in; more than 1 after it took too much memory"
    )
    seconds: float = Field(ge=0)
    scales: tuple[ScaleDistribution, ...] = Field(
        (), description="before the first epoch of sparse training and after each; empty where it was not asked for"
    )


class TrainingProgress(Record):
    """How far a training run is that is under way."""

    step: int = Field(ge=0)
    steps: int = Field(ge=1)
    text: str = Field("", description="the rest in words: epoch, loss, tune error")
