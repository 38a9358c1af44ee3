"""Settings of portrait matting beside those of the engine. Nothing heavy is imported here."""

from typing import Self

from pydantic import Field, model_validator

from modnet.config import Config
from modnet.configs import RetrainConfig, TrainingConfig, WorkloadSettings


class AugmentationConfig(Config):
    """How training images are changed at random; a strength or probability of 0 is off."""

    crops: bool = Field(
        True, description="Crops at the person's border, aspect kept. Off: the whole image, squeezed into the sample."
    )
    smallest_crop: float = Field(
        0.5, gt=0, le=1, description="Sides of the smallest crop, as share of the largest that fits into the image."
    )
    largest_crop: float = Field(
        1.0,
        gt=0,
        le=2,
        description="Sides of the largest crop, as share of the largest that fits. Above 1 a crop reaches over the "
        "image's edge and is filled as a letterbox is: it shows more of the person.",
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
            got = f"{self.smallest_crop:g} and {self.largest_crop:g}"
            raise ValueError(f"smallest_crop must be at most largest_crop, got {got}")
        return self

    @classmethod
    def none(cls) -> Self:
        """The whole image, squeezed into the sample and otherwise as it is: the original trainer's samples."""
        return cls(crops=False, flip=0, colour=0, blur=0, jpeg=0, background=0)


class DistillationConfig(Config):
    """How much the unpruned network's answers count beside the true mattes; each term is zero when it is matched."""

    semantic: float = Field(1.0, ge=0, le=100, description="Weight of the teacher's coarse prediction.")
    detail: float = Field(1.0, ge=0, le=100, description="Weight of the teacher's prediction near the border.")
    alpha: float = Field(1.0, ge=0, le=100, description="Weight of the teacher's matte.")
    features: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of the features of the teacher's branches, seen through 1×1 adapters. 0: none.",
    )


class MattingTraining(TrainingConfig):
    """How a matting network is trained."""

    augmentation: AugmentationConfig = AugmentationConfig()


class MattingRetraining(MattingTraining, RetrainConfig):
    """How a pruned matting network gets its accuracy back."""

    distillation: DistillationConfig | None = Field(
        None, description="The candidate learns from the unpruned network as well. Empty: from the true mattes alone."
    )


class AdaptationConfig(Config):
    """How a trained network is adapted to images without mattes."""

    epochs: int = Field(10, ge=1, le=1000, description="Passes over the images.")
    batch_size: int = Field(1, ge=1, le=256, description="Images per step.")
    image_size: int = Field(512, ge=64, le=1024, multiple_of=32, description="Side of the square crops, in pixels.")
    learning_rate: float = Field(1e-5, gt=0, le=1, description="Learning rate of Adam.")
    max_unreadable: int = Field(
        0, ge=0, le=1_000_000, description="Others replace this many unreadable images. One more fails the adaptation."
    )


class _Matting(WorkloadSettings):
    ships = True
    training = MattingTraining
    retraining = MattingRetraining
    distillation = DistillationConfig
    batch_only = ("fusion.head_features",)
    candidates = "10G:taylor,6.5G:taylor,3.7G+1.34M:taylor"
    small_candidates = "3.7G+1.34M:taylor,3.3G:taylor,2.9G:taylor"

    def usual_training(self, *, is_demo: bool) -> MattingTraining:
        if is_demo:
            return MattingTraining(epochs=10, image_size=160, learning_rate=2e-3)
        return MattingTraining(epochs=40, image_size=448)

    def usual_retraining(self, *, is_demo: bool, is_trained: bool, is_small: bool) -> MattingRetraining:
        if not is_demo:
            return MattingRetraining(
                epochs=20,
                image_size=448,
                learning_rate=7e-4,
                average_decay=0.995,
                freeze_backbone=True,
                augmentation=AugmentationConfig(largest_crop=1.5),
                distillation=DistillationConfig(),
            )
        if is_trained:  # a base that was trained for minutes is no teacher, and its backbone not worth keeping
            return MattingRetraining(epochs=3, image_size=160)
        # A small network that was retrained for long forgets more at 1e-3 than some dozen images teach it.
        learning_rate = 2e-4 if is_small else 1e-3
        return MattingRetraining(
            epochs=5, learning_rate=learning_rate, freeze_backbone=True, distillation=DistillationConfig()
        )


SETTINGS = _Matting()  # what the row of `modnet/workloads/__init__.py` names
