"""Real children on a stand-in for openvino: what they do to themselves, and what the agent says of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipapp
from pathlib import Path

import numpy
import pytest

import infra.device.agent.child as child_module
from infra.device.agent.child import package_root, run_child
from infra.device.agent.findings import Findings
from infra.device.agent.runtimes import ask_runtime, check_runtimes
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.errors import ChildLostError, ContractError, SettingsError
from infra.device.measuring.request import Network, Request
from tests.unit.infra.device.agent.scripted import HANGS, scripted_runtime

ANSWERS = "for fd in range(3, 6):\n  try: os.write(fd, {!r})\n  except OSError: pass\n"


def _network(folder: Path, compiled: str, inference: str) -> Network:
    (folder / "n.xml").write_text(compiled)
    (folder / "n.bin").write_text(inference)
    return Network("cpu-fp32", str(folder / "n.xml"), (1, 3, 8, 8), warm_up=1, repeats=2, threads=None)


def _run(folder: Path, compiled: str = "", inference: str = "", deadlines: Deadlines | None = None) -> Findings:
    findings, request = Findings(), Request(network=_network(folder, compiled, inference))
    run_child(scripted_runtime(folder), request, deadlines or Deadlines(), findings.take)
    return findings


@pytest.fixture
def late_once_it_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the agent runs on by 400 s at each look once the child hangs: no test waits for that."""
    monotonic, jumped_s = time.monotonic, [0.0]

    class _Time:
        @staticmethod
        def monotonic() -> float:
            jumped_s[0] += 400 * (tmp_path / "openvino/hangs").exists()
            return monotonic() + jumped_s[0]

    monkeypatch.setattr(child_module, "time", _Time)


def _is_gone(pid: int) -> bool:
    """Ended; whoever inherits it may not have reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while not _is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def test_run_child_finds_what_the_network_takes(tmp_path: Path) -> None:
    findings = _run(tmp_path, inference="time.sleep(0.001)")
    assert (findings.runtime, findings.input_shape, findings.golden) == ("openvino 2030.1.0", (1, 3, 8, 8), None)
    assert (len(findings.warm_up_ms) >= 1, len(findings.samples_ms)) == (True, 2)
    assert min(findings.samples_ms) >= 1
    assert findings.conditions["logical_cores_count"] == findings.conditions_after["logical_cores_count"]


LOST = {
    "segmentation fault": ("", "os.kill(os.getpid(), signal.SIGSEGV)", "crashed while running the network.*signal 11"),
    "abort": ("os.abort()", "", "crashed while loading the network.*signal 6"),
    "exit": ("os._exit(3)", "", "crashed while loading the network: ended by exit code 3"),
    "last words": ("os.write(2, b'no\\tmemory\\n'); os.abort()", "", "signal 6.*its last words: no memory"),
    "words on stdout": ("os.write(1, b'native\\n'); os.abort()", "", "signal 6.*its last words: native"),
    "a flood of words": ("[os.write(2, bytes(65536)) for _ in range(100)]; os.abort()", "", "signal 6.*last words"),
    "no memory": ("", "raise MemoryError", "exit code 1.*MemoryError"),
    "no json": (ANSWERS.format(b"{\n"), "", "made no sense while loading the network: answer: not JSON"),
    "no object": (ANSWERS.format(b"[]\n"), "", "answer: got an array"),
    "unknown stage": (ANSWERS.format(b'{"stage":"x"}\n'), "", "answer.stage: got 'x'"),
    "half of one": (ANSWERS.format(b'{"stage":"done"}\n'), "", "answer.warm_up_ms: missing"),
    "unknown error": (ANSWERS.format(b'{"stage":"error","kind":"x","words":""}\n'), "", "answer.kind: got 'x'"),
    "huge": (ANSWERS.format(b"x" * 65536) * 40 + "time.sleep(600)", "", "got more than 2097152 bytes"),
    "hangs compiling": (HANGS, "", r"hung while loading the network: killed after 300 s \(load_s\)"),
    "hangs running": ("", HANGS, r"hung while running the network: killed after 60 s \(inference_s\)"),
}


@pytest.mark.parametrize(("compiled", "inference", "words"), LOST.values(), ids=LOST)
@pytest.mark.usefixtures("late_once_it_hangs")
def test_run_child_says_how_it_lost_a_child(tmp_path: Path, compiled: str, inference: str, words: str) -> None:
    with pytest.raises(ChildLostError, match=words):
        _run(tmp_path, compiled, inference, Deadlines(all_s=1e9))


@pytest.mark.usefixtures("late_once_it_hangs")
def test_run_child_ends_what_takes_too_long_in_all_and_every_process_of_it(tmp_path: Path) -> None:
    starts_another = "grandchild = subprocess.Popen(['sleep', '600']); Path(__file__).with_name('other').write_text"
    with pytest.raises(ChildLostError, match=r"killed after 200 s \(all_s\)"):
        _run(tmp_path, f"{starts_another}(str(grandchild.pid))", HANGS, Deadlines(inference_s=1e6, all_s=200))
    for name in ("hangs", "other"):
        _wait_until_gone(int((tmp_path / "openvino" / name).read_text()))


def test_run_child_does_not_wait_for_a_process_that_holds_the_pipes_of_a_child_that_crashed(tmp_path: Path) -> None:
    with pytest.raises(ChildLostError, match="signal 6"):
        _run(tmp_path, "subprocess.Popen(['sleep', '600'], close_fds=False); os.abort()")


def test_run_child_raises_what_the_child_says(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"^openvino 2030.1.0 refuses n.xml on CPU: unsupported operation$"):
        _run(tmp_path, "raise RuntimeError('unsupported\\noperation')")
    request = Request(network=Network("cpu-fp32", str(tmp_path / "n.xml"), (1, 1), 1, 1, None))
    (tmp_path / "n.xml").write_text("")
    with pytest.raises(ContractError, match=r"whose input is \[1, 3, 8, 8\], wanted \[1, 1\]"):
        run_child(scripted_runtime(tmp_path), request, Deadlines(), Findings().take)


def test_ask_runtime_says_what_is_missing(tmp_path: Path) -> None:
    runtime = scripted_runtime(tmp_path)
    assert ask_runtime(runtime, Deadlines(), devices=("CPU",)) == "openvino 2030.1.0"
    (tmp_path / "openvino/__init__.py").write_text("import library_of_a_stick")
    with pytest.raises(SettingsError, match="openvino cannot be imported here: No module named 'library_of_a_stick'"):
        ask_runtime(runtime, Deadlines())
    with pytest.raises(SettingsError, match=r"runtime old: /nowhere/python cannot be started"):
        ask_runtime(RuntimeSettings("old", Path("/nowhere/python")), Deadlines())


def test_check_runtimes_refuses_a_target_that_nobody_runs(tmp_path: Path) -> None:
    runtime = RuntimeSettings("old", targets=("ncs2-fp16",))
    with pytest.raises(SettingsError, match=r"target 'cpu-fp32': no runtime runs it, of \['old'\]"):
        check_runtimes([runtime], ["cpu-fp32"], Deadlines())


def test_check_runtimes_refuses_a_name_that_stands_twice() -> None:
    with pytest.raises(SettingsError, match=r"got \['here', 'here'\], wanted each name once"):
        check_runtimes([RuntimeSettings(), RuntimeSettings()], ["cpu-fp32"], Deadlines())


def test_a_child_says_when_its_python_is_a_wrapper(tmp_path: Path) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\n{sys.executable} "$@"\nexit $?\n')
    wrapper.chmod(0o755)
    with pytest.raises(ChildLostError, match="exit code 1; its last words: started by process .* its Python is a wrap"):
        ask_runtime(RuntimeSettings("wrapped", wrapper), Deadlines())


def test_check_runtimes_goes_on_where_a_runtime_crashes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runtime = scripted_runtime(tmp_path)
    (tmp_path / "openvino/__init__.py").write_text("import os; os.abort()")
    check_runtimes([runtime], ["cpu-fp32"], Deadlines())
    assert "runtime scripted: crashed while importing the runtime: ended by signal 6" in caplog.text


ASKS = """
from infra.device.agent.runtimes import ask_runtime
from infra.device.agent.settings import Deadlines, RuntimeSettings
print(ask_runtime(RuntimeSettings(), Deadlines()))
"""


def test_a_child_is_found_in_an_archive(tmp_path: Path) -> None:
    """As an agent that is one file of zipped Python starts it; the runtime says where the child's code is from."""
    shutil.copytree(Path(package_root()) / "infra/device", tmp_path / "app/infra/device")
    (tmp_path / "app/__main__.py").write_text(ASKS)
    (tmp_path / "app/numpy.py").write_text("raise ImportError('of another Python')")
    zipapp.create_archive(tmp_path / "app", tmp_path / "agent.pyz")
    scripted_runtime(tmp_path)
    (tmp_path / "openvino/version.py").write_text("import infra.device; text = infra.device.__file__")
    with open(tmp_path / "openvino/__init__.py", "a") as module:
        module.write("def get_version():\n    from openvino.version import text\n    return text\n")
    path = os.pathsep.join([str(tmp_path), str(Path(numpy.__file__).parents[1])])
    # The interpreter that this environment was made from: this project is not installed in it.
    python = getattr(sys, "_base_executable", sys.executable)
    ended = subprocess.run(
        [python, tmp_path / "agent.pyz"],
        env={"PYTHONPATH": path},
        cwd=tmp_path / "openvino",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == f"openvino {tmp_path}/agent.pyz/infra/device/__init__.py\n", ended.stderr
