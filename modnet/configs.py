"""What a person chooses. Every field's description and range appear in the Prefect UI's run form."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Base of all configs: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PruningConfig(Config):
    """One way to prune the base network."""

    backbone_threshold: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Backbone threshold",
        description="Backbone and lr16x: relative L1 norm, 0 to below 1, that a channel needs to stay. 0 keeps all.",
    )
    global_ratio: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Global ratio",
        description="Detail and fusion branches: share of channels removed from each layer, 0 to below 1.",
    )
    channel_multiple: int = Field(8, ge=1, le=64, description="Widths become multiples of this; CPUs like 8 or 16.")
    min_channels: int = Field(8, ge=1, le=256, description="No layer gets narrower than this.")


class TrainingConfig(Config):
    """How a network is trained."""

    epochs: int = Field(10, ge=1, le=1000, description="Passes over the fit split.")
    batch_size: int = Field(4, ge=1, le=256, description="Images per step.")
    image_size: int = Field(256, ge=64, le=1024, multiple_of=32, description="Side of the square crops, in pixels.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Of AdamW.")
    max_gradient_norm: float = Field(10.0, gt=0, description="Gradients are scaled down to this norm.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bfloat16 where the processor computes it, otherwise float32."
    )


class RetrainConfig(TrainingConfig):
    """How a pruned network gets its accuracy back."""

    initialise: Literal["pruned", "scratch"] = Field(
        "pruned", description="pruned: start from the weights of the kept channels. scratch: from random weights."
    )


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
    synthetic: SyntheticConfig = SyntheticConfig()


class BaselineConfig(Config):
    """The unpruned network that is compressed."""

    checkpoint: str | None = Field(
        None,
        description="Path on the worker's machine: a checkpoint of this project, of the official MODNet or of "
        "MODNet-ModelCompression. Empty: train one in the run.",
    )
    training: TrainingConfig = TrainingConfig()


class BudgetConfig(Config):
    """What the winner may cost. Within it the lowest tune MSE wins."""

    max_parameters: int | None = Field(None, ge=1, description="Parameters of the deployed graph.")
    max_macs: int | None = Field(None, ge=1, description="Multiply-accumulates for one 512×512 image.")
    max_mse_ratio: float | None = Field(None, gt=0, description="Tune MSE as a multiple of the unpruned network's.")


class ExportConfig(Config):
    """Which forms of the winner are released; their input is 512×512."""

    precisions: tuple[Literal["fp32", "fp16", "int8"], ...] = Field(
        ("fp32", "fp16", "int8"), min_length=1, description="One target per precision: cpu-fp32, cpu-fp16, cpu-int8."
    )
    calibration_images: int = Field(24, ge=1, le=1000, description="Images of the fit split that calibrate INT8.")
    max_relative_mse_increase: float = Field(
        0.25, ge=0, description="A precision whose tune MSE exceeds torch's by more than this share is not released."
    )


class BenchmarkConfig(Config):
    """How long the run waits for devices."""

    wait_s: float = Field(300, ge=0, le=86_400, description="Longest wait for the reports of edge agents, in seconds.")
    min_reports: int = Field(0, ge=0, le=10_000, description="With fewer measured reports by then the run fails.")


class ComputeConfig(Config):
    """What is asked of the Ray cluster."""

    base_cpus: int = Field(2, ge=1, le=256, description="Cores for what runs alone: training the base, timing.")
    candidate_cpus: int = Field(1, ge=1, le=256, description="Cores for each candidate; the others run beside it.")
    timeout_s: float = Field(12 * 3600, gt=0, description="Longest computation of one piece of work, in seconds.")


class CompressConfig(Config):
    """Everything about one nightly run."""

    dataset: DatasetConfig = DatasetConfig()
    base: BaselineConfig = BaselineConfig()
    pruning: tuple[PruningConfig, ...] = Field(
        (
            PruningConfig(backbone_threshold=0.3, global_ratio=0.25),
            PruningConfig(backbone_threshold=0.4, global_ratio=0.5),
            PruningConfig(backbone_threshold=0.5, global_ratio=0.5),
        ),
        min_length=1,
        description="One candidate each.",
    )
    retrain: RetrainConfig = RetrainConfig()
    budget: BudgetConfig = BudgetConfig()
    export: ExportConfig = ExportConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    compute: ComputeConfig = ComputeConfig()
    min_survivors: int = Field(1, ge=1, description="With fewer retrained candidates the run fails.")
    seed: int = Field(0, ge=0, lt=2**31, description="Same seed and settings, same networks.")

    @classmethod
    def standard(cls, checkpoint: str | None = None) -> Self:
        """A night's work: whole epochs at the scale of use."""
        return cls(
            base=BaselineConfig(checkpoint=checkpoint, training=TrainingConfig(epochs=40, image_size=448)),
            retrain=RetrainConfig(epochs=20, image_size=448, learning_rate=7e-4),
        )

    @classmethod
    def demo(cls, checkpoint: str | None = None) -> Self:
        """The same run in minutes on two cores and some dozen images, too short to judge an idea.

        Without a checkpoint most of the time goes into a base network; with one it goes into retraining.
        """
        retrain = RetrainConfig(epochs=3, image_size=160) if checkpoint is None else RetrainConfig(epochs=16)
        return cls(
            base=BaselineConfig(
                checkpoint=checkpoint, training=TrainingConfig(epochs=10, image_size=160, learning_rate=2e-3)
            ),
            retrain=retrain,
            export=ExportConfig(calibration_images=8),
            benchmark=BenchmarkConfig(wait_s=120, min_reports=1),
        )
