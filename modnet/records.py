"""What a stage reports: small, frozen, JSON; never a tensor, never a path of one machine."""

from __future__ import annotations

import math
import statistics
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from modnet.configs import LayerRatiosPolicy, PruningConfig, RetrainConfig, shown_source
from modnet.protocols import Protocol
from modnet.targets import InputFormat, Target


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def stored_files(self) -> tuple[StoredFile, ...]:
        """The objects in the store that the record speaks of; without them it is worth nothing."""
        return ()


class ScaleDistribution(Record):
    """|gamma| of the batch norms of all prunable channels at one moment (see `modnet.training.slimming`)."""

    counts: tuple[int, ...] = Field(description="channels per bin of SCALE_BINS, the outermost open to the outside")
    quintiles: tuple[float, ...] = Field(description="what 20, 40, 60, 80 and 100 % of the channels do not exceed")
    norms: dict[str, ScaleDistribution] = Field({}, description="the same of each norm by itself, by its module's name")


class EpochReport(Record):
    """One pass over the training images."""

    losses: dict[str, float] = Field(description="by term, in the mean over steps")
    learning_rate: float = Field(ge=0, description="of the last step")
    tune_mse: float | None = Field(None, description="of the averaged weights; None where it was not measured")

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
    seconds: float = Field(ge=0)
    scales: tuple[ScaleDistribution, ...] = Field(
        (), description="before the first epoch of sparse training and after each; empty where it was not asked for"
    )


class TrainingProgress(Record):
    """How far a training run is that is under way."""

    step: int = Field(ge=0)
    steps: int = Field(ge=1)
    text: str = Field("", description="the rest in words: epoch, loss, tune error")


class Complexity(Record):
    """Cost of the deployed graph: without the two heads that only training uses."""

    parameters: int = Field(ge=0)
    macs: int = Field(ge=0, description="multiply-accumulates of convolutions and linear layers for one image")
    size: int = Field(ge=32, description="side of the square input in pixels")


class Scored(Record):
    """Something that errs, by the errors of its workload: the first decides, and lower is better."""

    errors: dict[str, Annotated[float, Field(ge=0)]] = Field(description="by name; what was not measured is absent")

    @property
    def error(self) -> float:
        """What choices compare."""
        return next(iter(self.errors.values()))

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, content: Any) -> Any:
        """In a file of version 0.1.0 every error is a field of its own, null where it was not measured."""
        if not isinstance(content, dict) or "errors" in content:
            return content
        own = {name: value for name, value in content.items() if name in cls.model_fields}
        if own.get("protocol") == "seed":  # its name then
            own["protocol"] = "modelcompression"
        others = {name: value for name, value in content.items() if name not in own and value is not None}
        return own | {
            "errors": {
                name: value for name, value in others.items() if name not in ("unknown_pixels", "unknown_images")
            }
        }


class ImageScore(Scored):
    """Errors of one image at original size."""

    stem: str


class Scores(Scored):
    """Mean errors of a network on one split under one preprocessing protocol, each image counting the same."""

    split: Literal["tune", "val", "fit", "train"]
    protocol: Protocol
    images: int = Field(ge=1)
    per_image: tuple[ImageScore, ...]

    def images_with(self, error: str) -> int:
        """How many images have an error: what its mean is over."""
        return sum(error in one.errors for one in self.per_image)


class FileDigest(Record):
    """What the bytes of a file must be."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class StoredFile(FileDigest):
    """An object in the store and what its bytes must be."""

    key: str

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self,)


class DatasetRecord(Record):
    """A data set in the store. `dataset_id` names its content."""

    dataset_id: str
    archive: StoredFile
    source: Annotated[str, AfterValidator(shown_source)] = Field(description="for people, without secrets")
    is_synthetic: bool
    fit: int
    tune: int
    val: int

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self.archive,)


class BaseRecord(Record):
    """An unpruned network in the store, and the data set it is compressed for."""

    base_id: str
    dataset_id: str
    checkpoint: StoredFile
    complexity: Complexity
    origin: str = Field(description="where it came from, for people")
    training: TrainingReport | None = Field(description="None when a checkpoint was given")

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self.checkpoint,)


class Candidate(Record):
    """One pruning config applied to one network: a smaller network waiting to be retrained."""

    candidate_id: str
    base_id: str = Field(description="the unpruned network that reports compare with")
    parent_id: str = Field(description="the network that was pruned: the base, or a retrained candidate of it")
    dataset_id: str
    pruning: PruningConfig
    retrain: RetrainConfig
    seed: int
    pruned: StoredFile
    complexity: Complexity
    remarks: tuple[str, ...] = Field((), description="where its plan is not what was asked, and why; for people")

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return self.pruning.label

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self.pruned,)


class RetrainReport(Record):
    """A retrained candidate."""

    candidate_id: str
    checkpoint: StoredFile
    training: TrainingReport

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self.checkpoint,)


class NetworkScores(Record):
    """A network on the split that choices read and on the one that only reports."""

    network_id: str = Field(description="a base_id or a candidate_id")
    tune: Scores
    val: Scores
    complexity: Complexity
    size_bytes: int = Field(description="of its checkpoint file")
    seconds: float = Field(ge=0)


class Choice(Record):
    """Which candidate is released, and why not the others."""

    winner: str
    front: tuple[str, ...] = Field(
        description="candidates that no other beats in both tune MSE and latency, the fastest first"
    )
    reasons: dict[str, str] = Field(description="one sentence for every candidate, the winner's included")


def _is_none(value: object) -> bool:
    return value is None


class LayerDecision(Record):
    """What became of one quantised layer, and why."""

    layer: str = Field(description="its name in the graph")
    harm: float | None = Field(
        None,
        exclude_if=_is_none,
        description="fall of the MSE on some tune images when only it is float; absent when nothing had to go back",
    )
    mse_when_put_back: float | None = Field(
        None,
        exclude_if=_is_none,
        description="MSE on all of tune once it and those before it were float; absent when it stays in 8 bits",
    )


class QuantisationDecision(Record):
    """How an INT8 network came to be within the error that is allowed, or not."""

    tune_images: int = Field(ge=1)
    float_mse: float = Field(ge=0, description="of the float network on tune")
    allowed_mse: float = Field(ge=0)
    all_rounded_mse: float = Field(ge=0, description="with every layer in 8 bits")
    mse: float = Field(ge=0, description="of the network as decided")
    layers: tuple[LayerDecision, ...] = Field(description="every quantised layer; by harm, where that was measured")
    training_steps: int = Field(0, ge=0, description="of quantisation-aware training before; 0: the weights as given")

    @property
    def is_within_bound(self) -> bool:
        """Whether the network may be used."""
        return self.mse <= self.allowed_mse

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Layers that went back to float, in the order in which they did."""
        return tuple(one.layer for one in self.layers if one.mse_when_put_back is not None)

    @property
    def verdict(self) -> str:
        """One sentence of what was decided, with the numbers."""
        trained = f" after {self.training_steps} steps of training" if self.training_steps else ""
        return (
            f"tune MSE {self.mse:.6f}{trained} with {len(self.float_layers)} of {len(self.layers)} layers in float, "
            f"allowed {self.allowed_mse:.6f} (float {self.float_mse:.6f}, all layers in 8 bits "
            f"{self.all_rounded_mse:.6f})"
        )


class LegacyCheck(Record):
    """What an old runtime, or a compiler of one, says of an IR."""

    by: str
    status: Literal["ok", "failed", "not verified"]
    words: str = Field("", description="its own when it failed, or why it was not asked")
    mean_difference: float | None = Field(None, ge=0, description="of alpha to the network's")
    max_difference: float | None = Field(None, ge=0)
    blob_bytes: int | None = Field(None, ge=1, description="what the compiler made")
    stages: int | None = Field(None, ge=1, description="steps of what the compiler made")


class ExportRecord(Record):
    """The deployable forms of one network in the store, keys by file name."""

    network_id: str
    size: int
    files: dict[str, StoredFile]
    input_format: InputFormat
    targets: tuple[Target, ...] = Field(description="those that are good enough to be released")
    refused: dict[str, str] = Field(description="the others, with the reason")
    parity: dict[str, float] = Field(description="mean |alpha - torch's alpha| per form, on the same pixels")
    tune_mse: dict[str, float] = Field(description="per target, and of torch, in the protocol of the size")
    int8: QuantisationDecision | None = Field(None, description="which layers are in 8 bits; None without cpu-int8")
    val: dict[str, dict[str, float]] = Field(
        description="errors by name of what is released, and of torch, in the protocol of the size"
    )
    legacy: dict[Target, tuple[LegacyCheck, ...]] = Field(description="empty where old runtimes were not asked")
    seconds: float

    @property
    def refusal(self) -> str | None:
        """Why nothing of the network can be released, each reason with its targets; None when a target can."""
        if self.targets:
            return None
        refused_for: dict[str, list[str]] = {}
        for target, reason in self.refused.items():
            refused_for.setdefault(reason, []).append(target)
        return "; ".join(f"{', '.join(targets)}: {reason}" for reason, targets in refused_for.items())

    def stored_files(self) -> tuple[StoredFile, ...]:
        return tuple(self.files.values())


class Challenge(Record):
    """A new network against the release that a target runs: on the same images, and in turns on one machine."""

    target: Target
    release_id: str = Field(description="what the target runs")
    problem: str | None = Field(None, description="why that release cannot be used at all; nothing was measured then")
    current_mse: float | None = Field(None, ge=0, description="on tune")
    new_mse: float | None = Field(None, ge=0, description="on tune")
    latency_ratio: float | None = Field(None, gt=0, description="new by current: the median of the rounds' ratios")
    low: float | None = Field(None, gt=0, description="of its interval of 95 %")
    high: float | None = Field(None, gt=0)

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the current release stays: a higher error, or a latency that is surely higher."""
        found = []
        if self.current_mse is not None and self.new_mse is not None and self.new_mse > self.current_mse:
            found.append(f"the new network errs more: tune MSE {self.new_mse:.6f} against {self.current_mse:.6f}")
        if self.low is not None and self.low > 1:
            found.append(f"the new network is slower: {self.latency}")
        return tuple(found)

    @property
    def latency(self) -> str:
        """The ratio of latencies with its interval, for people."""
        return f"{self.latency_ratio:.2f} times the latency of {self.release_id} ({self.low:.2f} to {self.high:.2f})"

    @property
    def verdict(self) -> str:
        """One sentence of what was found."""
        if self.problem is not None:
            return f"release {self.release_id} cannot be used: {self.problem}"
        if self.objections:
            return f"release {self.release_id} stays: {'; '.join(self.objections)}"
        return (
            f"not worse than release {self.release_id}: tune MSE {self.new_mse:.6f} against {self.current_mse:.6f}, "
            f"{self.latency}"
        )


class Promotion(Record):
    """What became of one target when a release was deployed."""

    target: str
    release_id: str = Field(description="what the target runs now")
    is_moved: bool = Field(description="whether it runs the deployed release")
    reason: str


class ReleaseRecord(Record):
    """A published release, and what each of its targets runs now."""

    release_id: str
    promotions: tuple[Promotion, ...]

    @property
    def running(self) -> dict[str, tuple[str, ...]]:
        """Which targets run which release now: the deployed one first, then those that were kept."""
        releases = dict.fromkeys([self.release_id, *(one.release_id for one in self.promotions)])
        running = {
            release: tuple(one.target for one in self.promotions if one.release_id == release) for release in releases
        }
        return {release: targets for release, targets in running.items() if targets}


class TimedForms(Record):
    """What of one network is timed beside others: as fast as what would ship, INT8 not held to its error."""

    network_id: str
    files: dict[str, StoredFile] = Field(description="IRs by file name")
    refused: dict[Target, str] = Field({}, description="forms that could not be made, with the reason")

    def stored_files(self) -> tuple[StoredFile, ...]:
        return tuple(self.files.values())


class HostLatencies(Record):
    """Latencies of several networks' IRs on one machine, all taking their turn in every round."""

    host: str
    deciding_form: Target = Field(description="what devices run, by which the fastest network is told")
    samples_ms: dict[str, dict[Target, tuple[float, ...]]] = Field(
        description="by network_id and form; the i-th samples of all were taken in the same round"
    )

    def p50_ms(self, network_id: str, form: Target) -> float | None:
        """The median; None where this form of the network was not timed."""
        samples = self.samples_ms.get(network_id, {}).get(form)
        return statistics.median(samples) if samples else None

    def speedup(self, network_id: str, form: Target, reference_id: str) -> float | None:
        """How many times as fast as the FP32 form of `reference_id`: the median of the rounds' ratios."""
        samples = self.samples_ms.get(network_id, {}).get(form)
        references = self.samples_ms.get(reference_id, {}).get("cpu-fp32")
        if not samples or not references:
            return None
        return statistics.median(reference / one for one, reference in zip(samples, references, strict=True))

    @property
    def deciding_ms(self) -> dict[str, float]:
        """Medians of the form that decides, by network_id."""
        medians = {name: self.p50_ms(name, self.deciding_form) for name in self.samples_ms}
        return {name: median for name, median in medians.items() if median is not None}


class Failure(Record):
    """A configuration that did not make it: a row in every summary, never an absence."""

    candidate_id: str
    label: str
    reason: str


class ChannelScores(Record):
    """How important each channel of the named groups is by a criterion, see `modnet.pruning.criteria`."""

    scores: dict[str, tuple[float, ...]]


class SensitivityQuestion(Record):
    """What sensitivities were measured of; those of different questions cannot stand in one table."""

    network_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of its weights, see plan.network_digest")
    data_sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="of the files of images and mattes, also those that channels were ranked on",
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

    def stored_files(self) -> tuple[StoredFile, ...]:
        return (self.plot,)
