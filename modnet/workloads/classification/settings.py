"""Settings of image classification beside those of the engine. Nothing heavy is imported here."""

from pydantic import Field

from modnet.config import Config
from modnet.configs import RetrainConfig, TrainingConfig, WorkloadSettings


class ClassAugmentation(Config):
    """How training images are changed at random; a strength or probability of 0 is off."""

    smallest_crop: float = Field(
        0.6, gt=0, le=1, description="Sides of the smallest crop, as share of the largest that fits. 1: the centre."
    )
    flip: float = Field(0.5, ge=0, le=1, description="Probability of mirroring left and right.")
    colour: float = Field(
        1.0, ge=0, le=3, description="Strength of changes of brightness (15 % at 1), contrast (20 %) and colour (8 %)."
    )
    blur: float = Field(0.0, ge=0, le=1, description="Probability of a slight blur, as out of focus.")
    jpeg: float = Field(0.0, ge=0, le=1, description="Probability of compression as JPEG, quality 40 to 90.")


class ClassDistillation(Config):
    """How much the unpruned network's shares count beside the true class (Hinton et al. 2015, arXiv 1503.02531)."""

    temperature: float = Field(
        4.0, gt=0, le=100, description="By what logits are divided first: the higher, the more the rare classes say."
    )
    shares: float = Field(1.0, ge=0, le=100, description="Weight of the teacher's shares.")


class ClassTraining(TrainingConfig):
    """How a classifier is trained."""

    batch_size: int = Field(32, ge=1, le=1024, description="Images per step.")
    image_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        multiple_of=32,
        description="Side of the square crops, in pixels. Empty: crops are as high and wide as the network's input.",
    )
    validation_images: int = Field(
        1000, ge=1, le=100_000, description="Images of tune for these scores: few tell top-1 errors only coarsely."
    )
    augmentation: ClassAugmentation = ClassAugmentation()


class ClassRetraining(ClassTraining, RetrainConfig):
    """How a pruned classifier gets its accuracy back."""

    distillation: ClassDistillation | None = Field(
        None, description="The candidate learns from the unpruned network as well. Empty: from the true classes alone."
    )


class _Classification(WorkloadSettings):
    training = ClassTraining
    retraining = ClassRetraining
    distillation = ClassDistillation
    candidates = "1.2G:taylor,0.8G:taylor"  # multiply-accumulates at 512×512, where the published network has 1.57G

    def usual_training(self, *, is_demo: bool) -> ClassTraining:
        return ClassTraining(epochs=5) if is_demo else ClassTraining(epochs=60)

    def usual_retraining(self, *, is_demo: bool, is_trained: bool, is_small: bool) -> ClassRetraining:
        if is_demo:  # a base that was trained for minutes is no teacher
            return ClassRetraining(epochs=3)
        return ClassRetraining(epochs=30, distillation=ClassDistillation())


SETTINGS = _Classification()  # what the row of `modnet/workloads/__init__.py` names
