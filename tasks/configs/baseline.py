"""The network that is compressed."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from modnet.config import Config
from modnet.configs.form import may_be_empty, usual_when_empty
from modnet.shipped import SHIPPED
from tasks.configs.sections import USUAL, Training

UNPRUNED = "unpruned"  # stands for a run's unpruned network, where it is said what candidates are pruned from
TRAIN = "train"  # stands for no checkpoint: the run trains its base network


class BaselineConfig(Config):
    """The unpruned network that is compressed."""

    checkpoint: str | None = Field(
        SHIPPED,
        description="shipped: the network that the project brings along, of workloads that have one. train, or empty: "
        "one trained in the run. Or the path, on the worker's machine, of a checkpoint of this project, of the "
        "official MODNet or of MODNet-ModelCompression.",
    )
    backbone: str | None = Field(
        None,
        description="Path on the worker's machine of MobileNetV2 weights with folded norms (.npz). The training "
        "starts from them. Only with checkpoint train. Empty: it starts from random weights.",
    )
    training: Annotated[Training, usual_when_empty(USUAL.training())] = Field(
        USUAL.training(), description="How it is trained. Only with checkpoint train.", json_schema_extra=may_be_empty
    )

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _empty_when_trained(cls, checkpoint: object) -> object:
        """The run form leaves out a field that was emptied, so that there is a word for it."""
        return None if checkpoint in ("", TRAIN) else checkpoint

    @model_validator(mode="after")
    def _backbone_is_used(self) -> Self:
        if self.backbone is not None and self.checkpoint is not None:
            what = f"checkpoint {self.checkpoint!r} is taken as it is; set it to {TRAIN!r}"
            raise ValueError(f"a backbone is what a training starts from, but {what}")
        return self
