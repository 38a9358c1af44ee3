"""The agent as one file: small, the same each time, with all licences, and enough on each Python that it is for."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import boto3
import numpy
import openvino
import pytest

from infra.agent_file import MOST_BYTES, PINNED, WHEELS, agent_file
from infra.device.errors import SettingsError
from tests.contract.test_device_package import IMPORTS_EVERYTHING, LEGACY, PROJECT

# Of these nothing may come from elsewhere than the file.
COMES_FROM_THE_FILE = """
import infra.device.trust, securesystemslib._internal.utils, tuf.ngclient
from importlib import import_module
import_module("tomli")
assert "requests" not in sys.modules
for name, module in sys.modules.items():
    if name.partition(".")[0] in ("infra", "tuf", "securesystemslib", "tomli"):
        assert sys.path[1] in module.__file__, module.__file__
"""

pytestmark = pytest.mark.skipif(
    not all((WHEELS / name).exists() for name in PINNED), reason="the wheels are not there: make agent"
)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "modnet-agent.pyz"
    path.write_bytes(agent_file(WHEELS))
    return path


def test_the_file_is_small_and_the_same_each_time(agent: Path) -> None:
    content = agent.read_bytes()
    assert len(content) < MOST_BYTES == 300_000
    assert content == agent_file(WHEELS)


def test_the_file_holds_our_package_without_tests_and_the_licence_of_all_in_it(agent: Path) -> None:
    with zipfile.ZipFile(agent) as packed:
        names = packed.namelist()
        assert packed.testzip() is None
    ours = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "infra" / "device").rglob("*.py")}
    assert ours <= set(names)
    assert {name for name in names if name.startswith("infra/") and name.endswith(".py")} == {
        *ours,
        "infra/__init__.py",
    }
    assert not [name for name in names if "test" in name.rpartition("/")[2].split("_")]
    folders = {name.partition("/")[0] for name in names} - {"__main__.py", "licenses"}
    licensed = {name.split("/")[1] for name in names if name.startswith("licenses/")}
    assert folders == {"infra", "tuf", "securesystemslib", "tomli"}
    assert licensed == {"modnet-edge", "tuf", "securesystemslib", "tomli"}


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    for name in PINNED:
        (tmp_path / name).write_bytes((WHEELS / name).read_bytes())
    spoilt = BytesIO()
    with zipfile.ZipFile(spoilt, "w") as packed:
        packed.writestr("tuf/__init__.py", "import os")
    (tmp_path / "tuf-5.1.0-py3-none-any.whl").write_bytes(spoilt.getvalue())
    with pytest.raises(SettingsError, match="got SHA-256 .*, wanted 6494848d"):
        agent_file(tmp_path)


def _run(python: Path | str, path: list[Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-S", *arguments],  # -S: this project is installed in site-packages
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )


def _check(python: Path | str, agent: Path, path: list[Path], *left_out: str) -> None:
    ended = _run(python, [agent, *path], "-c", IMPORTS_EVERYTHING + COMES_FROM_THE_FILE, *left_out)
    assert ended.returncode == 0, ended.stderr
    assert "infra.device.cli.doctor".replace(".", "/") in ended.stdout


def test_this_python_imports_every_module_from_the_file(agent: Path) -> None:
    _check(sys.executable, agent, sorted({Path(one.__file__ or "").parents[1] for one in (numpy, openvino, boto3)}))


@pytest.mark.parametrize("version", ["2021.4.2", "2022.3.2"])
def test_python_39_imports_every_module_from_the_file_with(version: str, agent: Path) -> None:
    path = [LEGACY / f"openvino-{version}", LEGACY / "agent"]
    if not (LEGACY / "python3.9").exists() or not all(folder.is_dir() for folder in path):
        pytest.skip("the old runtimes are not installed: make legacy-runtimes")
    newer = ["infra.device.measuring.openvino_2022"] if version == "2021.4.2" else []
    _check(LEGACY / "python3.9", agent, path, *newer)


@pytest.mark.parametrize("python", [sys.executable, LEGACY / "python3.9"], ids=["this", "3.9"])
def test_doctor_helps_where_nothing_is_installed(agent: Path, python: Path | str, tmp_path: Path) -> None:
    """No numpy, no OpenVINO, no boto3, no cryptography: each is named, and nothing is a traceback."""
    if not Path(python).exists():
        pytest.skip("the old runtimes are not installed: make legacy-runtimes")
    config = tmp_path / "agent.toml"
    config.write_text(
        'device = "pi"\nstore = "s3://modnet"\nendpoint = "http://127.0.0.1:9"\ningest = "http://127.0.0.1:9"\n'
        'root = "root.json"\nkey_file = "key"\nwork_folder = "work"\ntargets = ["cpu-int8", "ncs2-fp16"]\n'
    )
    ended = _run(python, [], str(agent), "doctor", "--config", str(config))
    assert (ended.returncode, ended.stderr) == (3, ""), ended.stderr
    for words in (
        "NOT OK boto3          No module named 'boto3'",
        "NOT OK cryptography   No module named 'cryptography'",
        "NOT OK key            key_file",
        "NOT OK root.json      [Errno 2] No such file or directory",
        "NOT OK runtime this   openvino cannot be imported here" if "3.9" in str(python) else "runtime this",
        "NOT OK to the ingest  127.0.0.1 (127.0.0.1) port 9: no connection",
        "NOT OK stick          no USB device of vendor 03e7",
    ):
        assert words in ended.stdout, ended.stdout
    assert "Traceback" not in ended.stdout
