"""How networks are trained and retrained. A workload adds fields of its own: `modnet/configs/workload.py`."""

from typing import Annotated, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from modnet.config import Config

Seed = Annotated[int, Field(ge=0, lt=2**31, description="Same seed and settings, same networks.")]
"""What a run draws its random numbers from."""


class SparsityConfig(Config):
    """Sparse training: batch-norm scales are pulled towards zero, so that they tell which channels can go."""

    strength: float = Field(
        1e-3,
        gt=0,
        le=1,
        description="Highest strength of the L1 penalty on the batch-norm scales of prunable channels.",
    )
    schedule: Literal["constant", "ramp", "ramp-decay"] = Field(
        "constant",
        description="constant: the strength stays the same. ramp: it rises from 0 over the whole training. "
        "ramp-decay: it rises over the first half and falls back to 0 over the second.",
    )


class TrainingConfig(Config):
    """How a network is trained."""

    epochs: int = Field(10, ge=1, le=1000, description="Passes over the fit split.")
    batch_size: int = Field(4, ge=1, le=256, description="Images per step.")
    image_size: int | None = Field(
        256,
        ge=64,
        le=1024,
        multiple_of=32,
        description="Side of the square crops, in pixels. Empty: crops are as high and wide as the network's input.",
    )
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="adamw, or sgd with momentum 0.9.")
    learning_rate: float = Field(
        1e-3, gt=0, le=1, description="Highest learning rate. Usual is 1e-3 for adamw and 1e-2 for sgd."
    )
    schedule: Literal["cosine", "step"] = Field(
        "cosine",
        description="How the learning rate changes. cosine: a short rise, then half a cosine to 0. step: a tenth "
        "after every quarter.",
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Weight decay of the optimiser.")
    max_gradient_norm: float = Field(10.0, gt=0, description="Gradients are scaled down to this norm.")
    average_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay of the running average of weights. The average is kept and scored. 0: the last weights.",
    )
    freeze_backbone: bool = Field(
        False, description="The backbone keeps its weights and statistics. Turn this off after heavy pruning."
    )
    validate_every: int | None = Field(
        1,
        ge=1,
        description="Epochs between two scores on tune. The best weights are kept. Empty: the last ones are kept.",
    )
    validation_images: int = Field(32, ge=1, le=10_000, description="Images of tune for these scores, evenly spread.")
    patience: int | None = Field(
        None,
        ge=1,
        description="The training stops after this many scores in a row without a better one. Empty: never early.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bfloat16 where a measured step gains from it, otherwise float32."
    )
    sparsity: SparsityConfig | None = Field(
        None, description="Sparse training on batch-norm scales, before pruning by bn_scale. Empty: none."
    )
    max_unreadable: int = Field(
        0, ge=0, le=1_000_000, description="Others replace this many unreadable images. One more fails the training."
    )


class RetrainConfig(TrainingConfig):
    """How a pruned network gets its accuracy back."""

    initialise: Literal["pruned", "scratch"] = Field(
        "pruned", description="pruned: start from the weights of the kept channels. scratch: from random weights."
    )
    distillation: SerializeAsAny[Config] | None = Field(
        None, description="The candidate learns from the unpruned network as well, as its workload says. Empty: not."
    )

    @model_validator(mode="after")
    def _backbone_worth_keeping(self) -> Self:
        if self.initialise == "scratch" and self.freeze_backbone:
            raise ValueError(
                "freeze_backbone would keep random weights from scratch; wanted it off, or initialise pruned"
            )
        return self
