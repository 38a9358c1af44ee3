"""How networks are trained, as run forms show it: the settings of the workloads that there are."""

from typing import Annotated, TypeVar, Union

from pydantic import Field, GetPydanticSchema

from modnet.configs import IterationConfig, RetrainConfig, TrainingConfig
from modnet.workloads import WORKLOADS, settings_named

USUAL = settings_named(None)


def _of_workloads(name: str) -> GetPydanticSchema:
    """Makes of a field one of what the workloads have for it, by the attribute of `WorkloadSettings`."""
    kinds = tuple(getattr(settings_named(workload), name) for workload in WORKLOADS)
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(Union[kinds]))  # noqa: UP007 - of all


Training = Annotated[TrainingConfig, _of_workloads("training")]
Retraining = Annotated[RetrainConfig, _of_workloads("retraining")]


Settings = TypeVar("Settings", bound=TrainingConfig)


def settings_as(own: type[Settings], given: Settings) -> Settings:
    """Settings by the class of the workload that they are for.

    A form without a data set cannot tell it where workloads have fields of one name. What was set stays, what was not
    becomes the workload's usual.

    Raises:
        ValidationError: a field was set that the workload does not have; names it.
    """
    if issubclass(own, type(given)) or isinstance(given, own):
        return given
    return own.model_validate(given.model_dump(exclude_unset=True))


class StepwiseConfig(IterationConfig):
    """Prune, retrain, prune the retrained network again: what was asked for is reached in several smaller steps."""

    retrain: Retraining = Field(USUAL.retraining(), description=IterationConfig.model_fields["retrain"].description)
