"""The agent as one file, from its token to its report: the same file and the same release on three OpenVINOs.

And what it says on the old ones without a stick.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import openvino
import pytest

from infra.agent_file import WHEELS, agent_file
from infra.device.agent.agent import Agent
from infra.device.agent.settings import RuntimeSettings
from infra.device.documents.manifest import Manifest, TargetFiles, TurnedFiles
from infra.device.measuring.request import MeasureSettings
from infra.device.measuring.runtime import runtime_text
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from infra.device.stores.s3_store import S3Store
from infra.ingest.invitations import Invitations, Place
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
CURRENT = openvino.__version__.split("-")[0]
FEW_RUNS = {"WARM_UP": "1", "REPEATS": "3", "THREADS": "1"}
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


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file."""
    if not WHEELS.is_dir():
        pytest.skip("the wheels of the agent's file are not there: make agent")
    path = tmp_path_factory.mktemp("agent") / "modnet-agent.pyz"
    path.write_bytes(agent_file(WHEELS))
    return path


@pytest.fixture
def environ(s3_environ: Callable[[str], dict[str, str]], tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """A function from a version of OpenVINO to the variables of a device that has it; no key is among them."""

    def of(version: str) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
        modules = [FOLDER / f"openvino-{version}", FOLDER / "agent"] if version in LEGACY_RUNTIMES else []
        kept.update({"PYTHONPATH": os.pathsep.join(map(str, modules)), "MODNET_AGENT_TARGETS": ON_CPU})
        return {**kept, **{f"MODNET_AGENT_{name}": text for name, text in FEW_RUNS.items()}}

    return of


@pytest.fixture
def command(
    agent: Path,
    ingest: IngestServer,
    s3_environ: Callable[[str], dict[str, str]],
    environ: Callable[[str], dict[str, str]],
    tmp_path: Path,
) -> Callable[[str, str], list[str]]:
    """A function from a version of OpenVINO and a verb to a command of a device that was enrolled by a token."""
    endpoint = s3_environ("device")["AWS_ENDPOINT_URL"]
    place = Place("s3://modnet", endpoint, None, (ON_CPU,), root_file().read_bytes())
    token = Invitations(ingest.log.with_name("invitations.json")).add("device", place)

    def of(version: str, verb: str) -> list[str]:
        python = str(FOLDER / "python3.9") if version in LEGACY_RUNTIMES else sys.executable
        config = tmp_path / "etc" / "agent.toml"
        if not config.exists():
            enrol = [python, str(agent), "enrol", ingest.url, token, "--config", str(config)]
            enrolled = _ended(enrol, environ(version))
            assert enrolled.returncode == 0, enrolled.stderr
        return [python, str(agent), verb, "--config", str(config)]

    return of


def _ended(command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300, cwd="/")


@pytest.mark.parametrize("version", [*LEGACY_RUNTIMES, CURRENT])
def test_agent_enrols_measures_and_reports_on(
    version: str,
    command: Callable[[str, str], list[str]],
    environ: Callable[[str], dict[str, str]],
    s3_store: Callable[[str], S3Store],
    release: str,
) -> None:
    verified = _ended(command(version, "verify"), environ(version))
    assert f"{ON_CPU}: release {release}, 4 files" in verified.stdout, verified.stderr
    ended = _ended(command(version, "once"), environ(version))
    assert ended.returncode == 0, ended.stderr
    status = _ended(command(version, "status"), environ(version)).stdout
    assert f"  {ON_CPU} on this: measured (release {release}: " in status
    assert "reports that wait: 0" in status
    doctor = _ended(command(version, "doctor"), environ(version))
    assert (doctor.returncode, "NOT OK" in doctor.stdout) == (0, False), doctor.stdout
    assert f"openvino {version}, /" in doctor.stdout

    reports, refused = read_reports(s3_store("pipeline"), release)
    assert refused == []
    (report,) = [one for one in reports if one.runtime == f"openvino {version}"]
    assert (report.status, report.target, report.device) == ("measured", ON_CPU, "device")
    assert (report.input_shape, report.precision) == ((1, 3, 64, 32), "f32")
    assert (len(report.warm_up_ms) >= 1, len(report.samples_ms)) == (True, 3)
    assert report.conditions["inference_threads_count"] == 1
    assert str(report.conditions["python_text"]).startswith("3.9." if version in LEGACY_RUNTIMES else "3.1")


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
    command: Callable[[str, str], list[str]], environ: Callable[[str], dict[str, str]], release: str
) -> None:
    variables = {**environ("2021.4.2"), "MODNET_AGENT_TARGETS": f"ncs2-fp16,{ON_CPU}"}
    ended = _ended(command("2021.4.2", "once"), variables)
    words = "ncs2-fp16: waiting (device MYRIAD: openvino 2021.4.2 finds only ['CPU'] here; plug the stick in"
    assert ended.returncode == 3
    assert words in ended.stderr
    assert f"{ON_CPU}: measured" in ended.stderr
    variables["MODNET_AGENT_INTERVAL_S"] = "0.01"
    with subprocess.Popen(command("2021.4.2", "run"), env=variables, stderr=-1, text=True) as agent:
        assert agent.stderr is not None
        asked = 0
        for line in agent.stderr:
            asked += words in line
            if asked == 3:  # a loop goes on
                break
        agent.send_signal(signal.SIGTERM)
        agent.stderr.read()
        assert (asked, agent.wait(timeout=60)) == (3, 0)


def test_doctor_says_what_a_stick_needs(
    command: Callable[[str, str], list[str]], environ: Callable[[str], dict[str, str]], release: str
) -> None:
    variables = {"MODNET_AGENT_TARGETS": "ncs2-fp16"}
    old, older = (
        _ended(command(version, "doctor"), {**environ(version), **variables}) for version in ("2022.3.2", "2021.4.2")
    )
    assert (old.returncode, older.returncode) == (3, 3)
    assert re.search("NOT OK ncs2-fp16 +device MYRIAD: openvino 2022.3.2 has no plugin for it", old.stdout)
    assert re.search("NOT OK ncs2-fp16 +device MYRIAD: openvino 2021.4.2 finds only .'CPU'. here; plug", older.stdout)
    assert re.search("ok +libusb +libusb-1.0.so.0", older.stdout)
    assert re.search("NOT OK stick +no USB device of vendor 03e7: plug it in", older.stdout)
    assert "Traceback" not in old.stderr + older.stderr


def test_agent_ends_where_no_stick_can_ever_be_used(
    command: Callable[[str, str], list[str]], environ: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """A loop, so that it would not end by itself."""
    variables = {"MODNET_AGENT_TARGETS": "ncs2-fp16"}
    without_plugin = _ended(command("2022.3.2", "run"), {**environ("2022.3.2"), **variables})
    assert without_plugin.returncode == 3
    assert "device MYRIAD: openvino 2022.3.2 has no plugin for it" in without_plugin.stderr
    assert "2021.4.2, for Python 3.9" in without_plugin.stderr

    (tmp_path / "libusb-1.0.so.0").write_text("no library")
    python, *arguments = command("2021.4.2", "run")
    run = [python, "-c", WITH_LIBRARIES, str(tmp_path), *arguments]
    without_libusb = _ended(run, {**environ("2021.4.2"), **variables})
    assert without_libusb.returncode == 3
    assert "device MYRIAD: openvino 2021.4.2 cannot load its plugin" in without_libusb.stderr
    assert "on Debian the package libusb-1.0-0" in without_libusb.stderr
    assert "Traceback" not in without_plugin.stderr + without_libusb.stderr
