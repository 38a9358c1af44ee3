"""Settings reach a run by the class of its workload, whatever class a form made of them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from modnet.workloads.classification.settings import ClassDistillation, ClassRetraining
from modnet.workloads.matting.settings import AugmentationConfig, MattingRetraining
from tasks.configs.baseline import BaselineConfig
from tasks.configs.compress import CompressConfig
from tasks.configs.sections import Retraining, settings_as

CLASSES = {"workload": "classification"}


def test_a_run_takes_what_was_typed_by_the_class_of_its_workload() -> None:
    """Both workloads have a flip: matting's class would take it as well."""
    typed = {"epochs": 3, "augmentation": {"flip": 0}}
    config = CompressConfig.model_validate({"dataset": CLASSES, "retrain": typed})
    assert config.retrain == ClassRetraining.model_validate(typed)
    assert type(CompressConfig.model_validate({"retrain": typed}).retrain) is MattingRetraining


def test_a_run_of_a_workload_that_ships_no_network_trains_one() -> None:
    assert CompressConfig.model_validate({"dataset": CLASSES}).base.checkpoint is None
    assert CompressConfig().base.checkpoint == "shipped"


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("retrain", {"retrain": MattingRetraining()}),
        ("retrain", {"retrain": {"augmentation": {"background": 0}}}),
        ("base.training", {"base": BaselineConfig(checkpoint=None)}),
    ],
    ids=["an object", "a field", "the base's"],
)
def test_settings_of_another_workload_are_refused_before_anything_is_computed(field: str, given: dict) -> None:
    says = rf"{field}: got settings of another workload \(Matting.*wanted those of workload 'classification'"
    with pytest.raises(ValidationError, match=says):
        CompressConfig.model_validate({"dataset": CLASSES, **given})


def test_what_was_set_stays_where_the_form_could_not_know_the_workload() -> None:
    given = TypeAdapter(Retraining).validate_python({"epochs": 3, "augmentation": {"flip": 0}})
    found = settings_as(ClassRetraining, given)
    assert found == ClassRetraining.model_validate({"epochs": 3, "augmentation": {"flip": 0}})
    own = ClassRetraining(distillation=ClassDistillation())
    assert settings_as(ClassRetraining, own) is own


def test_what_only_another_workload_has_is_refused_by_its_name() -> None:
    with pytest.raises(ValidationError, match=r"augmentation\.background"):
        settings_as(ClassRetraining, MattingRetraining(augmentation=AugmentationConfig(background=0)))
