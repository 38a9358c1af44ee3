"""A search for better networks: how long, where, and by what."""

from typing import Literal, Self

from pydantic import Field, model_validator

from modnet.config import Config
from modnet.configs.shape import InputShape
from modnet.configs.training import TrainingConfig
from modnet.errors import ConfigError

Criterion = Literal["l1", "l2", "bn_scale", "geometric_median", "taylor", "random"]


class Range(Config):
    """From a least to a most."""

    least: float = Field(gt=0)
    most: float = Field(gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least:g} is above most {self.most:g}; wanted a range that holds something")
        return self


class SearchSpace(Config):
    """Which candidates a search may ask for."""

    gmacs: Range = Field(
        Range(least=1.5, most=12),
        title="10⁹ MACs",
        description="What may be left of a network, in 10⁹ multiply-accumulates for one 512×512 image.",
    )
    input_shapes: tuple[InputShape, ...] = Field(
        (), description="Height x width that candidates may read, as 480x320. Empty: as the export or the data say."
    )
    criteria: tuple[Criterion, ...] = Field(
        ("taylor", "l1"), min_length=1, description="How the importance of a channel may be measured."
    )
    multiples: tuple[int, ...] = Field((8, 16), min_length=1, description="Widths may be multiples of these.")
    batch_only: tuple[bool, ...] = Field(
        (False, True),
        min_length=1,
        description="Whether the layers that the workload names may lose their instance norms first.",
    )
    learning_rate: Range = Field(
        Range(least=3e-4, most=3e-3), title="Learning rate", description="Highest learning rate of the retraining."
    )


def require_scored(retrain: TrainingConfig) -> None:
    """A search compares trainings epoch by epoch.

    Raises:
        ConfigError: `retrain` leaves scores out, or ends trainings early.
    """
    if retrain.validate_every != 1 or retrain.patience is not None:
        raise ConfigError(
            f"a search compares trainings epoch by epoch: got validate_every {retrain.validate_every} and patience "
            f"{retrain.patience}, wanted 1 and none"
        )


class SearchConfig(Config):
    """A search: it asks for candidates, trains the promising ones on, and learns from all nights before."""

    hours: float = Field(
        3.0, gt=0, le=168, description="Hours to spend. What is under way then goes on the next night."
    )
    candidates: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="At most, of all nights together. Empty: as many as the hours hold.",
    )
    space: SearchSpace = Field(SearchSpace(), title="Candidates")
    max_ms: float | None = Field(
        None,
        gt=0,
        title="Most ms",
        description="A candidate that takes longer on the node, on its cores, is not trained. Empty: no limit.",
    )
    max_mb: float | None = Field(
        None, gt=0, title="Most MB", description="Nor is one of more bytes of weights. Empty: no limit."
    )
    first_epochs: int = Field(2, ge=1, le=1000, description="Epochs after which candidates are first compared.")
    reduction: int = Field(
        3,
        ge=2,
        le=16,
        description="One of so many goes on, and then trains so many times as long until it is compared.",
    )
    finalists: int = Field(
        3, ge=1, le=8, description="So many of what is trained to the end go to devices, which measure them."
    )
    trial_hours: float = Field(
        24.0,
        gt=0,
        le=720,
        description="So long devices may take to measure the finalists. Then it is decided without the others.",
    )
