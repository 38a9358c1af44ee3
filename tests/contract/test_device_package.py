"""A device needs `infra/device/` alone, and pyproject's one list of what runs on Python 3.9 holds there.

The list is ruff's; `make lint` gives it to vermin, and these tests to a Python 3.9 where there is one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import boto3
import numpy
import openvino
import pytest

PROJECT = Path(__file__).resolve().parents[2]
LEGACY = PROJECT / ".modnet" / "legacy"
FLOOR = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["ruff"]["per-file-target-version"]

# Imports every module of the package but those named, on a device that has the declared packages and no others.
IMPORTS_EVERYTHING = """
import importlib, pkgutil, sys

class Refuse:
    stdlib = getattr(sys, "stdlib_module_names", None)  # Python 3.9 does not say; there nothing else is installed
    allowed = {"infra", "numpy", "openvino", "boto3", "tuf", "tomli"}
    carried = {"botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "certifi", "awscrt"}  # boto3's own
    carried |= {"securesystemslib", "cryptography", "_cffi_backend"}  # tuf's own

    def find_spec(self, name, path=None, target=None):
        if self.stdlib is not None and name.partition(".")[0] not in self.allowed | self.carried | set(self.stdlib):
            raise ImportError(f"a device imports {name}")
        return None

sys.meta_path.insert(0, Refuse())
import infra.device
for found in pkgutil.walk_packages(infra.device.__path__, "infra.device."):
    if found.name not in sys.argv[1:]:
        importlib.import_module(found.name)
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("infra.")), sep="\\n")
"""


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A folder with what README has copied to a device, and nothing else."""
    shutil.copytree(PROJECT / "infra" / "device", tmp_path / "infra" / "device")
    return tmp_path


def _import_everything(python: Path | str, device: Path, path: list[Path], left_out: list[str]) -> None:
    ended = subprocess.run(
        [str(python), "-S", "-c", IMPORTS_EVERYTHING, *left_out],  # -S: this project is installed in site-packages
        cwd=device,
        env={"PYTHONPATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    imported = {Path(line).relative_to(device) for line in ended.stdout.split()}
    left_out_files = {Path(*name.split(".")).with_suffix(".py") for name in left_out}
    assert imported == {file.relative_to(device) for file in device.rglob("*.py")} - left_out_files


def test_a_device_needs_one_package_and_the_declared_ones(device: Path) -> None:
    installed = {Path(module.__file__ or "").parents[1] for module in (numpy, openvino, boto3)}
    _import_everything(sys.executable, device, sorted(installed), [])


@pytest.mark.parametrize("version", ["2021.4.2", "2022.3.2"])
def test_the_package_is_imported_by_python_39_with(version: str, device: Path) -> None:
    path = [LEGACY / f"openvino-{version}", LEGACY / "agent"]
    if not (LEGACY / "python3.9").exists() or not all(folder.is_dir() for folder in path):
        pytest.skip("the old runtimes are not installed: make legacy-runtimes")
    newer = ["infra.device.measuring.openvino_2022"] if version == "2021.4.2" else []
    _import_everything(LEGACY / "python3.9", device, path, newer)


def test_the_floor_covers_all_that_runs_on_python_39() -> None:
    """The package as a whole, so that a new file in it is covered; each other file by its name."""
    assert FLOOR["infra/device/*"] == "py39"
    assert set(FLOOR.values()) == {"py39"}
    for pattern in FLOOR:
        assert list(PROJECT.glob(pattern)), f"{pattern} names nothing"


@pytest.mark.parametrize("python", [sys.executable, LEGACY / "python3.9"], ids=["this", "3.9"])
def test_what_runs_on_python_39_compiles_there(python: Path | str, tmp_path: Path) -> None:
    if not Path(python).exists():
        pytest.skip("the old runtimes are not installed: make legacy-runtimes")
    named = [path for pattern in FLOOR for path in PROJECT.glob(pattern)]
    files = [file for path in named for file in ([path] if path.is_file() else path.rglob("*.py"))]
    assert len(files) > 25
    program = "import sys; [compile(open(name, 'rb').read(), name, 'exec') for name in sys.argv[1:]]"
    subprocess.run([str(python), "-c", program, *map(str, files)], check=True)
