"""`make install`, on a project without dependencies, which brings its own build backend and needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "infra" / "environment.sh"
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "tiny-1.dist-info"
    with zipfile.ZipFile(f"{folder}/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: dev\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\\nsay-where = tiny:say_where\\n")
        wheel.writestr("tiny.py", "import sys\\ndef say_where(): print(sys.prefix)\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return "tiny-1-py3-none-any.whl"
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1"
requires-python = ">=3.11,<3.13"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "infra").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "infra")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder


def install(project: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(project), "PIP_NO_INDEX": "1", "PYTHON": python}
    return subprocess.run(
        [project / "infra" / "environment.sh"], env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_an_environment_is_made_once_and_anew_when_it_cannot_work(project: Path) -> None:
    done = install(project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written_at = (project / ".venv" / ".installed").stat().st_mtime_ns
    (alias := project.with_name("alias")).symlink_to(project.name)
    assert install(alias).returncode == 0
    assert (project / ".venv" / ".installed").stat().st_mtime_ns == written_at

    moved = project.rename(project.with_name("renamed"))
    (stale := moved / ".venv" / "stale").touch()
    done = install(moved)
    assert (done.returncode, done.stdout) == (0, ".venv is made anew: it was made in another folder\n")
    assert not stale.exists()
    where = subprocess.run([moved / ".venv" / "bin" / "say-where"], capture_output=True, text=True, check=True).stdout
    assert where.strip() == str(moved / ".venv")

    # As Debian without python3.11-venv left it: an interpreter and nothing to install with.
    (moved / ".venv" / ".installed").unlink()
    for found in (moved / ".venv" / "lib").glob("python*/site-packages/pip"):
        shutil.rmtree(found)
    done = install(moved)
    assert (done.returncode, done.stdout) == (0, ".venv is made anew: it is half made\n")


@pytest.mark.parametrize(
    ("requires", "python", "message"),
    [
        (">=3.98,<3.99", sys.executable, f"is Python 3.{sys.version_info[1]}; name a Python >=3.98,<3.99"),
        (">=2.6,<3.0", sys.executable, "name a Python >=2.6,<3.0: make install PYTHON=..."),
        (">=3.11,<3.13", "python-of-nobody", "python-of-nobody cannot be started; install it, or name a Python >=3.11"),
    ],
)
def test_a_python_that_cannot_be_used_is_named_at_once(requires: str, python: str, message: str, project: Path) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace(">=3.11,<3.13", requires))
    (project / ".venv").mkdir()
    (project / ".venv" / "kept").touch()
    done = install(project, python)
    assert done.returncode == 1
    assert message in done.stderr
    assert (project / ".venv" / "kept").exists()


def test_a_python_without_venv_is_told_what_to_install(project: Path, tmp_path: Path) -> None:
    """Debian splits it off."""
    python = tmp_path / "python3.11"
    python.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = install(project, str(python))
    assert done.returncode == 1
    assert f"apt install python3.{sys.version_info[1]}-venv" in done.stderr
    assert not (project / ".venv").exists()
