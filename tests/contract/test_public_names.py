"""What the house promises about its own names: docstrings, the error trees, and the agent's few dependencies."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import flows
import infra
import infra.device.errors
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
    [(modnet.errors, modnet.errors.ModnetError), (infra.device.errors, infra.device.errors.InfraError)],
    ids=["modnet", "infra"],
)
def test_error_tree_in_the_docstring_is_complete(errors: ModuleType, base: type[Exception]) -> None:
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, base)}
    drawn = {word for word in errors.__doc__.replace("├─", " ").replace("└─", " ").split() if word.endswith("Error")}
    assert drawn == defined


def test_every_public_error_survives_the_border_of_a_process() -> None:
    import pickle

    decision = QuantisationDecision(
        tune_images=1, float_mse=0.1, allowed_mse=0.1, all_rounded_mse=0.2, mse=0.2, layers=()
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


def test_edge_agent_imports_nothing_but_its_own_files_and_declared_packages() -> None:
    """Refuses every other top-level package in a fresh process, as a device without it would."""
    program = """
import sys

class Refuse:
    allowed = set(sys.stdlib_module_names) | {"infra", "numpy", "openvino", "boto3"}
    carried = {"botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "certifi", "awscrt"}  # boto3's own

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed | self.carried:
            raise ImportError(f"the edge agent imports {name}")
        return None

sys.meta_path.insert(0, Refuse())
import infra.device.__main__
# The agent imports these two when it first needs them:
import infra.device.measuring.openvino_2022, infra.device.stores.s3_store
ours = sorted(name for name in sys.modules if name.startswith("infra."))
print(*ours, sep="\\n")
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert {".".join(name.split(".")[:2]) for name in result.stdout.split()} == {"infra.device"}
