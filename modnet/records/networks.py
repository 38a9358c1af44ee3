"""Data sets and networks in the store, from the unpruned one to the retrained candidate."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from modnet.configs import PruningConfig, shown_source
from modnet.configs.shape import SQUARE, orientations, shape_in
from modnet.records.choice import TimedForms
from modnet.records.record import Record, StoredFile
from modnet.records.scores import Complexity, Scores
from modnet.records.training import TrainingReport
from modnet.targets import Shape


class DatasetRecord(Record):
    """A data set in the store. `dataset_id` names its content."""

    dataset_id: str
    workload: str | None = Field(None, description="the name of the workload that it is of; version 0.1.0 knew one")
    archive: StoredFile
    source: Annotated[str, AfterValidator(shown_source)] = Field(description="for people, without secrets")
    is_synthetic: bool
    fit: int
    tune: int
    val: int
    input_shape: str = Field(SQUARE, description="height x width that its images fill, 512 pixels long")
    turned: bool = Field(False, description="whether many of its images fill the same shape turned")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What networks of it read, where nobody says more."""
        return orientations(shape_in(self.input_shape), turned=self.turned)


class BaseRecord(Record):
    """An unpruned network in the store, and the data set it is compressed for."""

    base_id: str
    dataset_id: str
    checkpoint: StoredFile
    complexity: Complexity
    origin: str = Field(description="where it came from, for people")
    made: dict[str, Any] = Field({}, description="how: its recipe and seed, or what a given checkpoint says of itself")
    training: TrainingReport | None = Field(description="None when a checkpoint was given")


class Candidate(Record):
    """One pruning config applied to one network: a smaller network waiting to be retrained."""

    candidate_id: str
    base_id: str = Field(description="the unpruned network that reports compare with")
    parent_id: str = Field(description="the network that was pruned: the base, or a retrained candidate of it")
    dataset_id: str
    pruning: PruningConfig
    retrain: dict[str, Any] = Field(description="settings of its retraining, which its workload reads")
    seed: int
    pruned: StoredFile
    complexity: Complexity
    remarks: tuple[str, ...] = Field((), description="where its plan is not what was asked, and why; for people")

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return self.pruning.label


class RetrainReport(Record):
    """A retrained candidate."""

    candidate_id: str
    checkpoint: StoredFile
    training: TrainingReport


class RungReport(Record):
    """A candidate that has trained a part of its epochs, and may go on."""

    candidate_id: str
    epochs: int = Field(ge=1)
    tune_error: float = Field(ge=0, description="of the averaged weights, on the images by which trainings are scored")
    seconds: float = Field(ge=0, description="of training, all calls together")


class SearchBase(Record):
    """What errors and latencies of candidates are divided by."""

    base_id: str
    tune_error: float = Field(gt=0, description="on the images by which trainings are scored")
    forms: TimedForms


class PrunedTiming(Record):
    """A pruned network, before it is trained, in turns with its base."""

    candidate_id: str
    latency_ratio: float = Field(gt=0, description="by the base's: the median of the rounds' ratios, FP32")
    p50_ms: float = Field(gt=0)
    size_bytes: int = Field(ge=0, description="of its weights as they are released in FP32")


class NetworkScores(Record):
    """A network on the split that choices read and on the one that only reports."""

    network_id: str = Field(description="a base_id or a candidate_id")
    input_shape: str = Field(
        description="height x width that it was scored at, turned as well where a release holds both"
    )
    tune: Scores
    val: Scores
    complexity: Complexity
    size_bytes: int = Field(description="of its checkpoint file")
    seconds: float = Field(ge=0)


class Sheet(Record):
    """A picture of what networks make of some images."""

    networks: tuple[str, ...] = Field(description="their ids: the picture is kept as long as they are")
    picture: StoredFile


class Failure(Record):
    """A configuration that did not make it: a row in every summary, never an absence."""

    candidate_id: str
    label: str
    reason: str
