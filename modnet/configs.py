"""What a person chooses. Every field's description and range appear in the Prefect UI's run form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modnet.data.download import shown_url
from modnet.targets import InputFormat, Target

SHIPPED = "shipped"
"""Stands for the unpruned network that the project brings along, wherever a checkpoint is named."""

SHIPPED_PRUNED = "shipped-pruned"
"""Stands for the small network that the project brings along: the shipped one, pruned and retrained."""

UNPRUNED = "unpruned"
"""Stands for a run's unpruned network, where it is said what candidates are pruned from."""

TRAIN = "train"
"""Stands for no checkpoint: the run trains its base network."""

Metric = Literal["mse", "mad", "sad", "grad", "conn"]
"""Errors of a matte."""

ALL_METRICS: tuple[Metric, ...] = get_args(Metric)
FEW_METRICS: tuple[Metric, ...] = ("mse", "mad")

ResultKind = Literal["alpha", "foreground", "composite"]
"""What `modnet infer` makes of an image."""

SHEET_IMAGES = 8
"""How many images a sheet of the worst ones shows."""

Seed = Annotated[int, Field(ge=0, lt=2**31, description="Same seed and settings, same networks.")]
"""What a run draws its random numbers from."""


class Config(BaseModel):
    """Base of all configs: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AdaptivePolicy(Config):
    """MODNet-ModelCompression's rule on tied groups: a threshold in the backbone, a ratio in the branches."""

    kind: Literal["adaptive"] = Field("adaptive", description="Names this policy.")
    backbone_threshold: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Backbone threshold",
        description="Backbone and lr16x: score, scaled to 0…1 in its group, that a channel needs to stay. 0 keeps all.",
    )
    global_ratio: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Global ratio",
        description="Detail and fusion branches: share of channels removed from each layer, 0 to below 1.",
    )

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return f"{self.backbone_threshold:g}/{self.global_ratio:g}"


class UniformPolicy(Config):
    """The same share of channels goes from every group (L1NormPruner of NNI with one sparsity)."""

    kind: Literal["uniform"] = Field("uniform", description="Names this policy.")
    ratio: float = Field(0.5, ge=0, lt=1, description="Share of channels removed from each group, 0 to below 1.")

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return f"uniform {self.ratio:g}"


class LayerRatio(Config):
    """How much goes from the groups that a pattern names."""

    pattern: str = Field(
        min_length=1, description="Name of a group or of a layer in it; * and ? stand for any characters."
    )
    ratio: float = Field(ge=0, lt=1, description="Share of channels removed, 0 to below 1.")


class LayerRatiosPolicy(Config):
    """A ratio for each named group, all channels elsewhere (PaddleSlim's pruned_params and pruned_ratios)."""

    kind: Literal["layer-ratios"] = Field("layer-ratios", description="Names this policy.")
    ratios: tuple[LayerRatio, ...] = Field(min_length=1, description="Of several patterns that fit, the last counts.")

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return f"{len(self.ratios)} layer ratios"


class GlobalThresholdPolicy(Config):
    """The lowest scores of the whole network go, wherever they are (network slimming, arXiv 1708.06519)."""

    kind: Literal["global-threshold"] = Field("global-threshold", description="Names this policy.")
    share: float = Field(0.5, ge=0, lt=1, description="Share of all prunable channels removed, 0 to below 1.")
    floor: float = Field(0.1, gt=0, le=1, description="Share of its channels that every group keeps at least.")

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return f"threshold {self.share:g}"


class TargetPolicy(Config):
    """Channels that matter least for what they cost go until the network is small enough."""

    kind: Literal["target"] = Field("target", description="Names this policy.")
    max_macs: int | None = Field(None, ge=1, description="Multiply-accumulates of the deployed graph, 512×512 image.")
    max_parameters: int | None = Field(None, ge=1, description="Parameters of the deployed graph.")
    floor: float = Field(0.1, gt=0, le=1, description="Share of its channels that every group keeps at least.")

    @model_validator(mode="after")
    def _some_target(self) -> Self:
        if self.max_macs is None and self.max_parameters is None:
            raise ValueError("a target needs max_macs, max_parameters or both, got neither")
        return self

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        macs = [f"{self.max_macs / 1e9:.3g} GMAC"] if self.max_macs else []
        parameters = [f"{self.max_parameters / 1e6:.3g} M"] if self.max_parameters else []
        return " ".join(macs + parameters)


class LatencyPolicy(Config):
    """As a target of MACs, found by measuring: the largest network that is fast enough on this machine."""

    kind: Literal["latency"] = Field("latency", description="Names this policy.")
    max_ms: float = Field(gt=0, le=1e6, description="Median latency of the FP32 IR of one 512×512 image, milliseconds.")
    floor: float = Field(0.1, gt=0, le=1, description="Share of its channels that every group keeps at least.")

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return f"{self.max_ms:g} ms"


Policy = AdaptivePolicy | UniformPolicy | LayerRatiosPolicy | GlobalThresholdPolicy | TargetPolicy | LatencyPolicy


def _as_tabs(schema: dict[str, Any]) -> None:
    """Says `anyOf` where pydantic says `oneOf`: the run form shows that as tabs with fields, the other as bare JSON."""
    schema["anyOf"] = schema.pop("oneOf")
    del schema["discriminator"]


def may_be_empty(schema: dict[str, Any]) -> None:
    """Lets a section be null, which its model fills in: the run form then shows its fields only to who opens it."""
    told: dict[str, Any] = {name: schema.pop(name) for name in ("title", "description", "default") if name in schema}
    inner = dict(schema)
    schema.clear()
    schema.update(told, anyOf=[{"type": "null", "title": "as usual"}, inner], default=None)


class PruningConfig(Config):
    """One way to prune the base network: how many channels stay, and which."""

    policy: Policy = Field(
        AdaptivePolicy(), discriminator="kind", description="How many channels stay.", json_schema_extra=_as_tabs
    )
    criterion: Literal["l1", "l2", "bn_scale", "geometric_median", "taylor", "random"] = Field(
        "l1", description="Which channels stay: how the importance of one is told."
    )
    aggregate: Literal["sum", "mean", "max"] = Field(
        "sum", description="How a group's score follows from those of its layers; taylor has one for the whole group."
    )
    channel_multiple: int = Field(8, ge=1, le=64, description="Widths become multiples of this; CPUs like 8 or 16.")
    min_channels: int = Field(8, ge=1, le=256, description="No layer gets narrower than this.")
    exclude: tuple[str, ...] = Field((), description="Patterns of groups or layers that lose nothing.")
    batch_only: tuple[str, ...] = Field(
        (),
        description="Patterns of layers that lose their instance norm and its channels, unless excluded, before "
        "shares, floors and limits are applied: at full resolution it takes as long as the convolution before it. "
        "Layers of one norm stay as they are.",
    )
    taylor_images: int = Field(16, ge=1, le=10_000, description="Images of the fit split that taylor looks at.")
    taylor_steps: int = Field(
        6, ge=1, le=64, description="Looks that taylor takes on the way to a target or global threshold; else one."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of the random criterion.")

    @classmethod
    def towards(cls, *, max_macs: int | None = None, max_parameters: int | None = None) -> Self:
        """What did best (docs/results.md): a target, approached in steps by Taylor, in widths that fill vectors."""
        return cls(
            policy=TargetPolicy(max_macs=max_macs, max_parameters=max_parameters, floor=0.05),
            criterion="taylor",
            channel_multiple=16,
            min_channels=16,
            batch_only=("fusion.head_features",),
            taylor_images=32,
            taylor_steps=8,
        )

    @classmethod
    def from_word(cls, word: str) -> Self:
        """A way to prune in one word: `0.5/0.5`, `3.7G`, `1.34M`, `3.7G+1.34M`, each with `:criterion` or without.

        Without a criterion it is l1. A target by Taylor is what `towards` makes.

        Raises:
            ValueError: it is none of these, or out of range.
        """
        size, _, criterion = word.strip().partition(":")
        number = r"\d{1,18}(?:\.\d+)?"
        policy: Policy
        if found := re.fullmatch(rf"({number})/({number})", size):
            policy = AdaptivePolicy(backbone_threshold=float(found[1]), global_ratio=float(found[2]))
        else:
            parts = size.split("+")
            limits = {part[-1]: float(part[:-1]) for part in parts if re.fullmatch(rf"{number}[GM]", part)}
            if len(limits) != len(parts):
                raise ValueError(f"{size!r} is no way to prune")
            policy = TargetPolicy(
                max_macs=round(limits["G"] * 1e9) if "G" in limits else None,
                max_parameters=round(limits["M"] * 1e6) if "M" in limits else None,
            )
            if criterion == "taylor":
                return cls.towards(max_macs=policy.max_macs, max_parameters=policy.max_parameters)
        return cls.model_validate({"policy": policy, "criterion": criterion or "l1"})

    @property
    def label(self) -> str:
        """Short name for tables and plots."""
        return self.policy.label if self.criterion == "l1" else f"{self.policy.label} {self.criterion}"


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


class SparsityConfig(Config):
    """Sparse training: batch-norm scales are pulled towards zero, so that they tell which channels can go."""

    strength: float = Field(
        1e-3, gt=0, le=1, description="Of the L1 penalty on the batch-norm scales of prunable channels, at its highest."
    )
    schedule: Literal["constant", "ramp", "ramp-decay"] = Field(
        "constant",
        description="constant: the strength throughout. ramp: rises from 0 over the whole training. ramp-decay: rises "
        "over the first half and falls back to 0 over the second.",
    )


class DistillationConfig(Config):
    """How much the unpruned network's answers count beside the true mattes; each term is zero when it is matched."""

    semantic: float = Field(1.0, ge=0, le=100, description="Weight of its coarse prediction.")
    detail: float = Field(1.0, ge=0, le=100, description="Weight of its border prediction, near the border.")
    alpha: float = Field(1.0, ge=0, le=100, description="Weight of its matte.")
    features: float = Field(
        0.0, ge=0, le=100, description="Weight of its branches' features, seen through 1×1 adapters. 0: none."
    )


class TrainingConfig(Config):
    """How a network is trained."""

    epochs: int = Field(10, ge=1, le=1000, description="Passes over the fit split.")
    batch_size: int = Field(4, ge=1, le=256, description="Images per step.")
    image_size: int = Field(256, ge=64, le=1024, multiple_of=32, description="Side of the square crops, in pixels.")
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="adamw, or sgd with momentum 0.9.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="The highest; adamw likes 1e-3, sgd 1e-2.")
    schedule: Literal["cosine", "step"] = Field(
        "cosine", description="cosine: a short rise, then half a cosine to 0. step: a tenth after every quarter."
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Of the optimiser.")
    max_gradient_norm: float = Field(10.0, gt=0, description="Gradients are scaled down to this norm.")
    average_decay: float = Field(
        0.99, ge=0, lt=1, description="Of the running average of weights that is kept and evaluated. 0: the last ones."
    )
    freeze_backbone: bool = Field(
        False, description="The backbone keeps its weights and statistics. Cut far, it had better learn."
    )
    validate_every: int | None = Field(
        1, ge=1, description="Epochs between scores on tune; the best weights are kept. Empty: the last ones are kept."
    )
    validation_images: int = Field(32, ge=1, le=10_000, description="Images of tune, evenly spread, for those scores.")
    patience: int | None = Field(
        None, ge=1, description="Stop after so many scores in a row without a better one. Empty: never early."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bfloat16 where a step is measured to gain from it, otherwise float32."
    )
    sparsity: SparsityConfig | None = Field(
        None, description="Sparse training on batch-norm scales, before pruning by bn_scale. Empty: none."
    )
    augmentation: AugmentationConfig = AugmentationConfig()
    max_unreadable: int = Field(
        0, ge=0, le=1_000_000, description="Unreadable images that others replace; one more fails the training."
    )


class AdaptationConfig(Config):
    """How a trained network is adapted to images without mattes."""

    epochs: int = Field(10, ge=1, le=1000, description="Passes over the images.")
    batch_size: int = Field(1, ge=1, le=256, description="Images per step.")
    image_size: int = Field(512, ge=64, le=1024, multiple_of=32, description="Side of the square crops, in pixels.")
    learning_rate: float = Field(1e-5, gt=0, le=1, description="Of Adam.")
    max_unreadable: int = Field(
        0, ge=0, le=1_000_000, description="Unreadable images that others replace; one more fails the adaptation."
    )


class RetrainConfig(TrainingConfig):
    """How a pruned network gets its accuracy back."""

    initialise: Literal["pruned", "scratch"] = Field(
        "pruned", description="pruned: start from the weights of the kept channels. scratch: from random weights."
    )
    distillation: DistillationConfig | None = Field(
        None, description="Learn from the unpruned network as well. Empty: from the true mattes alone."
    )

    @model_validator(mode="after")
    def _backbone_worth_keeping(self) -> Self:
        if self.initialise == "scratch" and self.freeze_backbone:
            raise ValueError(
                "freeze_backbone would keep random weights from scratch; wanted it off, or initialise pruned"
            )
        return self


class IterationConfig(Config):
    """Prune, retrain, prune the retrained network again: a target reached in several smaller steps."""

    steps: int = Field(3, ge=1, le=20, description="How often the network is pruned and retrained.")
    pruning: PruningConfig = Field(
        PruningConfig(policy=GlobalThresholdPolicy()),
        description="What the last step arrives at; its policy is target or global-threshold.",
    )
    retrain: RetrainConfig = Field(RetrainConfig(), description="How the network is retrained after every step.")
    intermediate_epochs: int | None = Field(
        None, ge=1, le=1000, description="Epochs after every step but the last. Empty: as many as after the last."
    )

    @model_validator(mode="after")
    def _divisible_policy(self) -> Self:
        if not isinstance(self.pruning.policy, TargetPolicy | GlobalThresholdPolicy):
            raise ValueError(
                f"policy {self.pruning.policy.kind!r} cannot be divided into steps; wanted target or global-threshold"
            )
        return self


class SensitivityConfig(Config):
    """How each channel group's pruning is judged by itself, and what ratios are read off the curves."""

    ratios: tuple[float, ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        min_length=1,
        description="Shares of a group's channels that are tried, above 0 and below 1.",
    )
    images: int = Field(16, ge=1, le=10_000, description="Images of the tune split that errors are measured on.")
    short_side: int = Field(256, ge=32, le=2048, multiple_of=32, description="Of the images, in pixels.")
    pruning: PruningConfig = Field(
        PruningConfig(),
        description="Criterion, limits and exclusions. Not read: batch_only, and the policy, which is looked for.",
    )
    allowed_loss: float = Field(
        0.1, ge=0, le=1000, description="Relative increase of the error up to which a group, by itself, is pruned."
    )
    max_macs: int | None = Field(
        None, ge=1, description="Look for the allowed loss that leaves at most so many MACs, 512×512 image."
    )

    @model_validator(mode="after")
    def _sane_ratios(self) -> Self:
        if wrong := [ratio for ratio in self.ratios if not 0 < ratio < 1]:
            raise ValueError(f"ratios must be above 0 and below 1, got {wrong}")
        if len(set(self.ratios)) < len(self.ratios):
            raise ValueError(f"ratios must be different, got {list(self.ratios)}")
        return self


class SyntheticConfig(Config):
    """Size of the data set of rendered portraits; its scores say nothing about photographs."""

    train: int = Field(48, ge=5, le=100_000, description="Rendered training portraits.")
    val: int = Field(8, ge=1, le=100_000, description="Rendered validation portraits.")
    height: int = Field(512, ge=64, le=4096, description="Pixels.")
    width: int = Field(384, ge=64, le=4096, description="Pixels.")
    seed: int = Field(0, ge=0, lt=2**32, description="Another seed renders other people.")


class DatasetConfig(Config):
    """Where the portraits come from."""

    source: str = Field(
        "synthetic",
        min_length=1,
        description="synthetic (rendered, needs no network), ppm-100, an http(s):// or file:// URL, or the path of a "
        "zip on the worker's machine, laid out as {train,val}/{fg,alpha}.",
    )
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Refuse an archive with another SHA-256 (64 hexadecimal digits)."
    )
    synthetic: SyntheticConfig = Field(
        SyntheticConfig(), description="Of the source synthetic alone.", json_schema_extra=may_be_empty
    )

    @field_validator("synthetic", mode="before")
    @classmethod
    def _usual_when_empty(cls, synthetic: object) -> object:
        return SyntheticConfig() if synthetic is None else synthetic

    @property
    def label(self) -> str:
        """Short name for task runs."""
        return shown_source(self.source)


def shown_source(source: str) -> str:
    """A data set's source as anybody may read it: of a URL no user, password or query, of a path its name."""
    return shown_url(source) if "://" in source else Path(source).name


class BaselineConfig(Config):
    """The unpruned network that is compressed."""

    checkpoint: str | None = Field(
        SHIPPED,
        description="shipped: the network that the project brings along, trained on photographs. train, or empty: one "
        "trained in the run. Or the path, on the worker's machine, of a checkpoint of this project, of the official "
        "MODNet or of MODNet-ModelCompression.",
    )
    backbone: str | None = Field(
        None,
        description="Path on the worker's machine: MobileNetV2 weights with folded norms (.npz), from which the "
        "training starts; goes with checkpoint train. Empty: from random ones.",
    )
    training: TrainingConfig = Field(
        TrainingConfig(),
        description="How it is trained; goes with checkpoint train.",
        json_schema_extra=may_be_empty,
    )

    @field_validator("training", mode="before")
    @classmethod
    def _usual_when_empty(cls, training: object) -> object:
        return TrainingConfig() if training is None else training

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _empty_when_trained(cls, checkpoint: object) -> object:
        """The run form leaves out a field that was emptied, so that there is a word for it."""
        return None if checkpoint in ("", TRAIN) else checkpoint

    @model_validator(mode="after")
    def _backbone_is_used(self) -> Self:
        if self.backbone is not None and self.checkpoint is not None:
            raise ValueError(
                f"a backbone is what a training starts from, but checkpoint {self.checkpoint!r} is taken as it is; "
                f"set it to {TRAIN!r}"
            )
        return self


class BudgetConfig(Config):
    """What the winner may cost. Among those that err little enough the fastest wins."""

    max_mse_ratio: float = Field(
        1.10,
        gt=0,
        title="Largest error, as a multiple of the unpruned network's",
        description="Of the candidates whose tune MSE is within this bound the fastest wins. Where none is, the one "
        "with the lowest error wins.",
    )
    max_parameters: int | None = Field(
        None, ge=1, description="Parameters of the deployed graph. Larger candidates never win. Empty: no limit."
    )
    max_macs: int | None = Field(
        None,
        ge=1,
        description="Multiply-accumulates for one 512×512 image. Larger candidates never win. Empty: no limit.",
    )


class ExportConfig(Config):
    """Which forms of the winner are released."""

    targets: tuple[Target, ...] = Field(
        ("cpu-fp32", "cpu-fp16", "cpu-int8", "ncs2-fp16"),
        min_length=1,
        description="Classes of devices: what each reads is a row of modnet/targets.py.",
    )
    size: Literal[256, 320, 384, 448, 512, 640] = Field(
        512, description="Side of the square input, pixels. Targets of open size are checked at it."
    )
    input_format: InputFormat = Field(
        "float-nchw",
        description="uint8-nhwc: the network reads the image itself and a device computes nothing before it.",
    )
    max_alpha_difference: float = Field(
        1e-3,
        gt=0,
        le=1,
        description="FP32 forms: largest difference of alpha to torch's in any pixel. Of networks that are hardly "
        "trained 0.005 was seen, as OpenVINO's instance norm loses digits on large flat areas.",
    )
    verify_on_legacy: bool = Field(
        False,
        description="Run and compile what is for old runtimes on these as well; `make legacy-runtimes` installs them.",
    )
    calibration_images: int = Field(24, ge=1, le=1000, description="Images of the fit split that calibrate INT8.")
    max_relative_mse_increase: float = Field(
        0.05,
        ge=0,
        description="A target whose tune MSE exceeds torch's by more than this share is not released. INT8 puts layers "
        "back to float until it holds.",
    )
    max_float_layers: int = Field(16, ge=0, le=1000, description="Layers of INT8 that may go back to float.")
    quantisation_aware_steps: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Where INT8 exceeds the bound all the same: steps of quantisation-aware training on the "
        "calibration images before the last attempt. 0: none.",
    )


class BenchmarkConfig(Config):
    """How long the run waits for devices."""

    wait_s: float = Field(300, ge=0, le=86_400, description="Longest wait for the reports of edge agents, in seconds.")
    min_reports: int = Field(0, ge=0, le=10_000, description="With fewer measured reports by then the run fails.")
    awaited_targets: tuple[Target, ...] = Field(
        ("cpu-fp32", "cpu-fp16", "cpu-int8", "cpu-fp32-dynamic"),
        description="Those of the release that devices are there for: a measured report of each is waited for.",
    )

    def on(self, targets: Sequence[str]) -> Self:
        """What is waited for of these targets alone: of each that is awaited one report, and none where none is."""
        awaited = tuple(target for target in self.awaited_targets if target in targets)
        return self.model_copy(update={"awaited_targets": awaited, "min_reports": min(self.min_reports, len(awaited))})


class ComputeConfig(Config):
    """What is asked of the Ray cluster."""

    base_cpus: int = Field(2, ge=1, le=256, description="Cores for what runs alone: training the base, timing.")
    candidate_cpus: int = Field(1, ge=1, le=256, description="Cores for each candidate; the others run beside it.")
    training_gpus: float = Field(
        0, ge=0, le=1, description="GPUs, or a share of one, that each training reserves; 0 trains on the CPU."
    )
    timeout_s: float = Field(12 * 3600, gt=0, description="Longest computation of one piece of work, in seconds.")
