"""What the house promises about its own names: docstrings and the error trees."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import flows
import infra
import infra.device.errors
import infra.errors
import modnet
import modnet.errors
import tasks
from modnet.records import QuantisationDecision

PROJECT = Path(__file__).resolve().parents[2]


def modules() -> list[ModuleType]:
    names = [
        found.name
        for package in (flows, infra, modnet, tasks)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]
    return [importlib.import_module(name) for name in names]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_module_and_its_public_names_have_docstrings(module: ModuleType) -> None:
    if not module.__name__.endswith("__init__"):
        assert module.__doc__, module.__name__
    for name, value in vars(module).items():
        is_ours = getattr(value, "__module__", None) == module.__name__
        if is_ours and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            assert value.__doc__, f"{module.__name__}.{name}"


@pytest.mark.parametrize(
    ("errors", "base"),
    [
        (modnet.errors, modnet.errors.ModnetError),
        (infra.errors, infra.errors.InfraError),
        (infra.device.errors, infra.device.errors.InfraError),
    ],
    ids=["modnet", "infra", "device"],
)
def test_error_tree_in_the_docstring_is_complete(errors: ModuleType, base: type[Exception]) -> None:
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, base)}
    drawn = {word for word in errors.__doc__.replace("├─", " ").replace("└─", " ").split() if word.endswith("Error")}
    assert drawn == defined


def test_every_public_error_survives_the_border_of_a_process() -> None:
    import pickle

    decision = QuantisationDecision(
        tune_images=1, float_error=0.1, allowed_error=0.1, all_rounded_error=0.2, error=0.2, layers=()
    )
    made = [
        modnet.errors.TrainingDivergedError("loss is nan", step=3, last_finite_loss=None),
        modnet.errors.ParityError("differs", 0.5, 0.25),
        modnet.errors.AccuracyError("errs", decision),
        infra.device.errors.ConflictError("somebody was first"),
    ]
    for error in made:
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)
