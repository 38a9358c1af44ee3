"""The agent's whole round on Python 3.9 with the old OpenVINOs, and what it says there without a stick."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infra.device.agent.agent import Agent
from infra.device.agent.settings import RuntimeSettings
from infra.device.documents.manifest import Manifest, TargetFiles, TurnedFiles
from infra.device.measuring.request import MeasureSettings
from infra.device.measuring.runtime import runtime_text
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from infra.device.stores.s3_store import S3Store
from infra.publishing.releases import promote, publish_release
from modnet.export.legacy_runtimes import LegacyRuntime
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.targets import LEGACY_RUNTIMES
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.integration.conftest import IngestServer
from tests.signing import publisher_of, root_file, trust_of
from tests.unit.infra.exported import digests, exported
from tests.unit.modnet.random_network import random_network

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".modnet" / "legacy"
ON_CPU = "cpu-as-ncs2"  # the stick's form, on the CPU
# Starts the same interpreter with a folder before all others in which it looks for libraries.
WITH_LIBRARIES = """
import os, sys
os.environ["LD_LIBRARY_PATH"] = sys.argv[1] + ":" + os.environ.get("LD_LIBRARY_PATH", "")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

pytestmark = pytest.mark.skipif(
    not (FOLDER / "agent").is_dir() or not all(LegacyRuntime(FOLDER, one).is_installed for one in LEGACY_RUNTIMES),
    reason="the old runtimes are not installed: make legacy-runtimes",
)


@pytest.fixture(scope="module")
def release(s3_store: Callable[[str], S3Store], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny network as `ncs2-fp16`, upright and across, promoted for the stick and, the same files, for a CPU."""
    folder = tmp_path_factory.mktemp("exported")
    onnx_path = export_onnx(random_network(ModnetSpec.tiny()), folder / "modnet.onnx", size=(64, 32))
    ir = convert_ir(onnx_path, folder, targets=["ncs2-fp16"], size=(64, 32))["ncs2-fp16"]
    turned = convert_ir(
        export_onnx(random_network(ModnetSpec.tiny()), folder / "modnet-turned.onnx", size=(32, 64)),
        folder,
        targets=["ncs2-fp16"],
        size=(32, 64),
    )["ncs2-fp16"]
    files = {path.name: path for one in (ir, turned) for path in (one.xml, one.bin)}
    second = TurnedFiles(turned.xml.name, turned.bin.name, (1, 3, 32, 64))
    form = TargetFiles(ir.xml.name, ir.bin.name, "input", (1, 3, 64, 32), "fp16", second)
    manifest = Manifest(
        workload="matting",
        network_id="0123456789ab",
        targets={"ncs2-fp16": form, ON_CPU: form},
        files=digests(files),
        scores={"mse": 0.01},
        provenance={"run": folder.name},
    )
    store = s3_store("pipeline")
    published = publish_release(publisher_of(store), manifest, exported(store, files))
    for target in manifest.targets:
        promote(publisher_of(store), target, published)
    return published


@pytest.fixture
def command(tmp_path: Path, ingest: IngestServer) -> list[str]:
    """An agent that reads from the server's bucket; its targets are still to be added."""
    command = [str(FOLDER / "python3.9"), "-m", "infra.device", "--store", "s3://modnet", "--root", str(root_file())]
    command += ["--ingest", ingest.url, "--device", "device", "--work-folder", str(tmp_path / "work")]
    return [*command, "--warm-up", "1", "--repeats", "3", "--threads", "1"]


@pytest.fixture
def environ(
    s3_environ: Callable[[str], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, str]]:
    """A function from a version of OpenVINO to the variables of a device that has it, and of us one package alone."""
    shutil.copytree(ROOT / "infra" / "device", tmp_path / "infra" / "device")
    monkeypatch.chdir(tmp_path)

    def of(version: str) -> dict[str, str]:
        modules = [tmp_path, FOLDER / f"openvino-{version}", FOLDER / "agent"]
        return {**os.environ, **s3_environ("device"), "PYTHONPATH": os.pathsep.join(map(str, modules))}

    return of


def _ended(command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, "--once"], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", LEGACY_RUNTIMES)
def test_agent_measures_and_reports_on(
    version: str,
    command: list[str],
    environ: Callable[[str], dict[str, str]],
    s3_store: Callable[[str], S3Store],
    release: str,
) -> None:
    ended = _ended([*command, "--target", ON_CPU], environ(version))
    assert ended.returncode == 0, ended.stderr

    reports, refused = read_reports(s3_store("pipeline"), release)
    assert refused == []
    (report,) = [one for one in reports if one.runtime == f"openvino {version}"]
    assert (report.status, report.target, report.device) == ("measured", ON_CPU, "device")
    assert (report.input_shape, report.precision in ("f32", "bf16")) == ((1, 3, 64, 32), True)
    assert (len(report.warm_up_ms), len(report.samples_ms)) == (1, 3)
    assert report.conditions["inference_threads_count"] == 1
    assert str(report.conditions["python_text"]).startswith("3.9.")


def test_one_agent_serves_runtimes_of_several_pythons(
    s3_store: Callable[[str], S3Store], release: str, tmp_path: Path
) -> None:
    """The agent runs on this Python, and its children on 3.9 with each old OpenVINO, and on this one with today's."""
    runtimes = [
        RuntimeSettings(version, FOLDER / "python3.9", environ={"PYTHONPATH": f"{FOLDER}/openvino-{version}"})
        for version in LEGACY_RUNTIMES
    ]
    reports = FolderStore(tmp_path / "reports")
    agent = Agent(
        trust_of(s3_store("device")),
        device="device",
        work_folder=tmp_path / "work",
        settings=MeasureSettings(warm_up=1, repeats=3, threads=1),
        reports=reports,
        runtimes=[*runtimes, RuntimeSettings()],
    )
    outcomes = agent.run_once([ON_CPU])
    assert [outcome.status for outcome in outcomes] == ["measured"] * 3, outcomes
    found, _ = read_reports(reports, release)
    assert [(one.runtime, str(one.conditions["python_text"])[:3]) for one in found[:2]] == [
        (f"openvino {version}", "3.9") for version in LEGACY_RUNTIMES
    ]
    assert found[2].runtime == runtime_text()


def test_agent_asks_for_the_stick_and_measures_the_cpu_until_it_is_there(
    command: list[str], environ: Callable[[str], dict[str, str]], release: str
) -> None:
    command += ["--target", "ncs2-fp16", "--target", ON_CPU]
    ended = _ended(command, environ("2021.4.2"))
    words = "ncs2-fp16: waiting (device MYRIAD: openvino 2021.4.2 finds only ['CPU'] here; plug the stick in"
    assert ended.returncode == 3
    assert words in ended.stderr
    assert f"{ON_CPU}: measured" in ended.stderr
    with subprocess.Popen([*command, "--interval-s", "0.01"], env=environ("2021.4.2"), stderr=-1, text=True) as agent:
        assert agent.stderr is not None
        asked = 0
        for line in agent.stderr:
            asked += words in line
            if asked == 3:  # a loop goes on
                break
        agent.send_signal(signal.SIGTERM)
        agent.stderr.read()
        assert (asked, agent.wait(timeout=60)) == (3, 0)


def test_agent_ends_where_no_stick_can_ever_be_used(
    command: list[str], environ: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """A loop, so that it would not end by itself."""
    command += ["--target", "ncs2-fp16"]
    without_plugin = subprocess.run(command, env=environ("2022.3.2"), capture_output=True, text=True, timeout=120)
    assert without_plugin.returncode == 3
    assert "device MYRIAD: openvino 2022.3.2 has no plugin for it" in without_plugin.stderr
    assert "2021.4.2, for Python 3.9" in without_plugin.stderr

    (tmp_path / "libusb-1.0.so.0").write_text("no library")
    command[1:1] = ["-c", WITH_LIBRARIES, str(tmp_path)]
    without_libusb = subprocess.run(command, env=environ("2021.4.2"), capture_output=True, text=True, timeout=120)
    assert without_libusb.returncode == 3
    assert "device MYRIAD: openvino 2021.4.2 cannot load its plugin" in without_libusb.stderr
    assert "on Debian the package libusb-1.0-0" in without_libusb.stderr
    assert "Traceback" not in without_plugin.stderr + without_libusb.stderr
