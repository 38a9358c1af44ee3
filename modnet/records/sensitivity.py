"""What pruning each group by itself costs."""

from pydantic import Field

from modnet.configs import LayerRatiosPolicy
from modnet.records.record import Record, StoredFile


class ChannelScores(Record):
    """How important each channel of the named groups is by a criterion, see `modnet.pruning.criteria`."""

    scores: dict[str, tuple[float, ...]]


class SensitivityQuestion(Record):
    """What sensitivities were measured of; those of different questions cannot stand in one table."""

    network_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of its weights, see plan.network_digest")
    data_sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="of the files of images and labels, also those that channels were ranked on",
    )
    images: tuple[str, ...] = Field(min_length=1, description="their stems")
    short_side: int = Field(ge=32, description="pixels of the network's input")
    ranking: str = Field(description="by which channels of a group go first: criterion, and what it depends on")
    metric: str = Field(description="what an error is")
    higher_is_better: bool = Field(False, description="the metric is a score: a loss is its decrease")


class ImageSensitivity(Record):
    """One image's error with one group pruned at each ratio."""

    group: str
    image: str
    baseline: float = Field(description="error of the intact network")
    errors: dict[float, float] = Field(description="by share of the group's channels that is removed")


class Sensitivities(Record):
    """Measurements of one question: of all groups, or of those that one worker looked at."""

    question: SensitivityQuestion
    measurements: tuple[ImageSensitivity, ...]


class SensitivityCurve(Record):
    """What a network loses with one of its groups, in the mean over images."""

    group: str
    baseline: float = Field(description="error of the intact network")
    errors: dict[float, float] = Field(description="by share of channels removed, ascending")
    losses: dict[float, float] = Field(description="change for the worse relative to the baseline, by the same shares")


class SensitivityChoice(Record):
    """How much each group may lose by its curve, and the network that is left when all do."""

    allowed_loss: float = Field(description="relative loss up to which each group, by itself, is pruned")
    policy: LayerRatiosPolicy = Field(description="a ratio for each group, for a PruningConfig")
    parameters: int = Field(ge=0, description="of the deployed graph that is left")
    macs: int = Field(ge=0, description="of the deployed graph that is left, for one 512×512 image")


class SensitivityReport(Record):
    """Sensitivity analysis of a network in the store."""

    network_id: str
    question: SensitivityQuestion
    curves: tuple[SensitivityCurve, ...]
    choice: SensitivityChoice
    plot: StoredFile
