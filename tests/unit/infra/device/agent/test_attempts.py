"""Each question is answered once: over crashes of the child, restarts, kills at any point, and other runtimes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infra.device.agent.agent as agent_module
import infra.device.agent.runtimes as runtimes_module
from infra.device.agent.agent import Agent, Outcome
from infra.device.agent.child import Take
from infra.device.agent.seen import SeenReleases
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.json_object import parse_json
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import release_file_key
from infra.device.documents.pointer import Pointer
from infra.device.errors import DiskFullError
from infra.device.measuring.request import MeasureSettings, Request
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from tests.signing import root_file, trust_of
from tests.unit.infra.device.agent.scripted import HANGS, promote_scripted, scripted_runtime

SETTINGS = MeasureSettings(warm_up=0, repeats=2)
CRASHES_ONCE = "says('hangs') if Path(__file__).with_name('first').exists() else (says('first'), os.abort())"
SLOW = "time.sleep(0.002)"


def _agent(store: FolderStore, folder: Path, *runtimes: RuntimeSettings) -> Agent:
    """As it is after a restart."""
    runtimes = runtimes or (scripted_runtime(folder),)
    return Agent(trust_of(store), device="pi", work_folder=folder / "work", settings=SETTINGS, runtimes=runtimes)


def _round(store: FolderStore, folder: Path, *runtimes: RuntimeSettings) -> Outcome:
    (outcome,) = _agent(store, folder, *runtimes).run_once(["cpu-fp32"])
    return outcome


def _reports(store: FolderStore, *pointers: Pointer) -> list[LatencyReport]:
    found = [read_reports(store, pointer.release_id) for pointer in pointers]
    assert [refused for _, refused in found] == [[]] * len(pointers)
    return [report for reports, _ in found for report in reports]


def test_a_child_that_crashed_once_is_tried_once_more(store: FolderStore, tmp_path: Path) -> None:
    pointer = promote_scripted(store, tmp_path / "a", compiled=CRASHES_ONCE)
    first = _round(store, tmp_path)
    assert first.status == "waiting"
    assert first.detail.startswith("crashed while loading the network: ended by signal 6 (Aborted)")
    assert _reports(store, pointer) == []
    assert [_round(store, tmp_path).status for _ in range(2)] == ["measured", "skipped"]
    assert [report.status for report in _reports(store, pointer)] == ["measured"]


@pytest.mark.parametrize("restarts", [True, False])
def test_a_child_that_crashed_twice_is_reported_and_left_alone(
    store: FolderStore, tmp_path: Path, restarts: bool
) -> None:
    counted = "open(Path(__file__).with_name('tries'), 'a').write('x'); os.write(2, b'bad op'); os.abort()"
    pointer = promote_scripted(store, tmp_path / "a", compiled=counted)
    agent = _agent(store, tmp_path)
    statuses = [(_agent(store, tmp_path) if restarts else agent).run_once(["cpu-fp32"])[0].status for _ in range(4)]
    assert statuses == ["waiting", "rejected", "rejected", "rejected"]
    assert (tmp_path / "openvino/tries").read_text() == "xx"
    (report,) = _reports(store, pointer)
    assert (report.status, report.runtime, report.target) == ("failed", "openvino 2030.1.0", "cpu-fp32")
    assert report.reason == (
        "tried 2 times; at last it crashed while loading the network: ended by signal 6 (Aborted); "
        "its last words: bad op"
    )


def test_another_version_of_the_runtime_is_another_question(store: FolderStore, tmp_path: Path) -> None:
    pointer = promote_scripted(store, tmp_path / "a")
    agent = _agent(store, tmp_path)
    found = []
    for version in ("2030.1.0", "2030.1.0", "2030.2.0"):
        (tmp_path / "openvino/version").write_text(version)
        found += [one.status for one in agent.run_once(["cpu-fp32"])]
    assert found == ["measured", "skipped", "measured"]
    assert [report.runtime for report in _reports(store, pointer)] == ["openvino 2030.1.0", "openvino 2030.2.0"]


def test_a_runtime_that_changes_within_a_round_is_asked_again(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = promote_scripted(store, tmp_path / "a")
    with monkeypatch.context() as patched:
        patched.setattr(agent_module, "ask_runtime", lambda runtime, deadlines: "openvino 2029.1.0")
        outcome = _round(store, tmp_path)
    assert (outcome.status, "was openvino 2029.1.0 a moment ago" in outcome.detail) == ("waiting", True)
    assert [_round(store, tmp_path).status for _ in range(2)] == ["measured", "skipped"]
    assert [report.runtime for report in _reports(store, pointer)] == ["openvino 2030.1.0"]


def test_each_target_runs_on_the_runtimes_that_list_it(store: FolderStore, tmp_path: Path) -> None:
    both = promote_scripted(store, tmp_path / "a")
    one = promote_scripted(store, tmp_path / "b", target="cpu-int8")
    old = scripted_runtime(tmp_path / "old", "2021.4.2", "old")
    new = scripted_runtime(tmp_path / "new", "2030.1.0", "new")
    old = RuntimeSettings("old", old.python, ("cpu-fp32", "cpu-int8"), old.environ)
    new = RuntimeSettings("new", new.python, ("cpu-fp32",), new.environ)
    outcomes = _agent(store, tmp_path, old, new).run_once(["cpu-fp32", "cpu-int8"])
    assert [outcome.status for outcome in outcomes] == ["measured"] * 3
    assert [report.runtime for report in _reports(store, both)] == ["openvino 2021.4.2", "openvino 2030.1.0"]
    assert [report.runtime for report in _reports(store, one)] == ["openvino 2021.4.2"]


def test_a_runtime_that_cannot_be_started_keeps_nobody_else_waiting(store: FolderStore, tmp_path: Path) -> None:
    promote_scripted(store, tmp_path / "a")
    gone = RuntimeSettings("gone", Path("/nowhere/python"))
    outcomes = _agent(store, tmp_path, gone, scripted_runtime(tmp_path)).run_once(["cpu-fp32"])
    assert [outcome.status for outcome in outcomes] == ["waiting", "measured"]
    assert "runtime gone: /nowhere/python cannot be started" in outcomes[0].detail


@pytest.mark.parametrize(("computed", "status"), [(0.0, "measured"), (0.5, "rejected")])
def test_a_network_that_computes_something_else_is_reported_without_a_latency(
    store: FolderStore, tmp_path: Path, computed: float, status: str
) -> None:
    golden = tmp_path / "golden.npz"
    images = np.zeros((2, 3, 8, 8), np.float32)
    np.savez(golden, inputs=images, outputs=images[:, None])
    pointer = promote_scripted(store, tmp_path / "a", inference=f"c = {computed}", golden=golden, compiled=_OUTPUTS)
    assert [_round(store, tmp_path).status for _ in range(2)] == [status, "skipped" if status == "measured" else status]
    (report,) = _reports(store, pointer)
    assert report.golden is not None
    assert (report.golden.images_count, report.golden.worst_difference) == (2, computed)
    if status == "rejected":
        assert (report.status, report.samples_ms, report.input_shape) == ("wrong", (), (1, 3, 8, 8))
        assert report.reason == (
            "golden images: got a mean absolute difference of 0.5 from what the float network computes, wanted at most "
            "0.01: it computes something else here"
        )


_OUTPUTS = "Compiled.get_output_tensor = lambda self, index: SimpleNamespace(data=np.full((1, 1, 3, 8, 8), c))"


FORMER = {
    "runs": (SLOW, True),
    "crashes": (f"{SLOW}; os.abort() if Path(__file__).with_name('first').exists() else None", False),
    "is refused": (f"{SLOW}\nif Path(__file__).with_name('first').exists(): raise RuntimeError('no')", False),
}


@pytest.mark.parametrize(("inference", "is_compared"), FORMER.values(), ids=FORMER)
def test_a_release_is_compared_with_the_one_before_and_measured_whatever_that_does(
    store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, inference: str, is_compared: bool
) -> None:
    before = promote_scripted(store, tmp_path / "a", inference=inference)
    assert _round(store, tmp_path).status == "measured"
    pointer = promote_scripted(store, tmp_path / "b", inference=f"says('first'); {SLOW}; time.sleep(0.1)")
    assert _round(store, tmp_path).status == "measured"
    (report,) = _reports(store, pointer)
    if is_compared:
        assert report.comparison is not None
        assert (report.comparison.release_id, report.comparison.rounds_count) == (before.release_id, 2)
        assert report.comparison.ratio > 1
    else:
        assert report.comparison is None
        assert "no comparison with the release before" in caplog.text


def test_a_release_is_not_compared_with_one_that_was_wrong_here(store: FolderStore, tmp_path: Path) -> None:
    refuses = "if not Path(__file__).with_name('mended').exists(): raise RuntimeError('no')"
    promote_scripted(store, tmp_path / "a", compiled=refuses, inference=SLOW)
    assert _round(store, tmp_path).status == "rejected"
    (tmp_path / "openvino" / "mended").write_text("")
    pointer = promote_scripted(store, tmp_path / "b", inference=f"{SLOW}; time.sleep(0.001)")
    assert _round(store, tmp_path).status == "measured"
    assert [(report.status, report.comparison) for report in _reports(store, pointer)] == [("measured", None)]


def test_a_release_is_measured_when_the_one_before_is_gone(
    store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = promote_scripted(store, tmp_path / "a")
    pointer = promote_scripted(store, tmp_path / "b", inference=SLOW)
    store.delete(release_file_key(before.release_id, "cpu-fp32.bin"))
    assert _round(store, tmp_path).status == "measured"
    assert [(report.status, report.comparison) for report in _reports(store, pointer)] == [("measured", None)]
    assert "no comparison with the release before: releases/" in caplog.text


class _Steps:
    """Ends this process, as SIGKILL does, at one of its steps: before or after it changes the disk or has a child."""

    def __init__(self, killed_at: int) -> None:
        self._left = killed_at

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            self._count()
            result = function(*arguments, **more)
            self._count()
            return result

        return step

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(9)


def _found(runtime: RuntimeSettings, request: Request, deadlines: Deadlines, take: Take) -> None:
    """A child that has measured, without one."""
    answers: list[dict[str, object]] = [{"stage": "runtime", "text": "openvino 2030.1.0"}]
    if request.network is not None:
        shape = request.network.input_shape
        answers.append({"stage": "loaded", "load_ms": 1.0, "input_shape": shape, "precision": "f32", "threads": 1})
        times = {"warm_up_ms": [], "samples_ms": [1.0, 2.0], "conditions": {}, "conditions_after": {}}
        answers.append({"stage": "done", **times})
    for answer in answers:
        take(str(answer["stage"]), parse_json(canonical_json(answer), "answer", max_bytes=1000))


def _forked_round(store: FolderStore, folder: Path, killed_at: int) -> int:
    """Exit code of one round of an agent in a process of its own; 9 where it was killed."""
    if (process := os.fork()) == 0:
        steps = _Steps(killed_at)
        os.replace = steps.of(os.replace)
        Path.unlink = steps.of(Path.unlink)  # type: ignore[method-assign]
        FolderStore.put = steps.of(FolderStore.put)  # type: ignore[method-assign]
        agent_module.run_child = runtimes_module.run_child = steps.of(_found)
        try:
            _round(store, folder)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_wherever_an_agent_is_killed_it_reports_once(tmp_path: Path) -> None:
    """Killed at each step of a round, then left alone for three rounds."""
    killed_at, codes = 0, {9}
    while 9 in codes:
        killed_at += 1
        folder = tmp_path / str(killed_at)
        store = FolderStore(folder / "store")
        pointer = promote_scripted(store, folder / "a")
        codes = {_forked_round(store, folder, killed_at)}
        assert [_forked_round(store, folder, 0) for _ in range(3)] == [0, 0, 0]
        assert [report.status for report in _reports(store, pointer)] == ["measured"], f"killed at step {killed_at}"
        assert sorted(path.name for path in (folder / "work").iterdir()) == ["seen.json", "spool"]
        assert list((folder / "work/spool").iterdir()) == []
    assert killed_at > 20
    assert codes == {0}


def test_a_report_waits_until_the_memory_of_it_is_on_the_disk(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be sent, and an agent that starts again would measure again."""
    pointer = promote_scripted(store, tmp_path / "a")
    monkeypatch.setattr(agent_module, "run_child", _found)
    monkeypatch.setattr(runtimes_module, "run_child", _found)
    agent, keep = _agent(store, tmp_path), SeenReleases.keep

    def full_for_what_is_measured(seen: SeenReleases) -> None:
        if "measured" in seen._statuses.values():
            raise OSError(errno.ENOSPC, "no room")
        keep(seen)

    with monkeypatch.context() as patched:
        patched.setattr(SeenReleases, "keep", full_for_what_is_measured)
        for _ in range(2):
            with pytest.raises(DiskFullError):
                agent.run_once(["cpu-fp32"])
        assert _reports(store, pointer) == []
    assert [_round(store, tmp_path).status for _ in range(2)] == ["skipped", "skipped"]
    assert [report.status for report in _reports(store, pointer)] == ["measured"]


def _command(store: FolderStore, folder: Path, *more: str) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "infra.device", "--device", "pi", "--target", "cpu-fp32", "--store", store.url]
    command += ["--root", str(root_file()), "--work-folder", str(folder / "work"), "--repeats", "2", *more]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return command, {**os.environ, "PYTHONPATH": path}


@contextmanager
def _ended(command: list[str], **settings: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is killed at the end of the block, also where a test fails in it: else it would be waited for."""
    with subprocess.Popen(command, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def _pid_of_hanging(folder: Path) -> int:
    """The child, once it says that it hangs; forgotten, so that the next one can say so."""
    said, deadline = folder / "openvino/hangs", time.monotonic() + 120
    while not said.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int(said.read_text())
    said.unlink()
    return pid


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def test_an_agent_that_is_killed_with_its_child_has_tried_once(store: FolderStore, tmp_path: Path) -> None:
    """By SIGKILL, twice: the third agent tries nothing, and reports."""
    pointer = promote_scripted(store, tmp_path / "a", inference=HANGS)
    scripted_runtime(tmp_path)
    command, environ = _command(store, tmp_path)
    for _ in range(2):
        with _ended(command, cwd=Path(__file__).parents[5], env=environ) as agent:
            child = _pid_of_hanging(tmp_path)
            agent.kill()
        _wait_until_gone(child)
        assert _reports(store, pointer) == []
    assert [_round(store, tmp_path).status for _ in range(2)] == ["rejected", "rejected"]
    (report,) = _reports(store, pointer)
    assert report.reason == "tried 2 times; at last the agent was killed together with the child"


STAGES = {"compiling": (HANGS, ""), "measuring": ("", HANGS)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("compiled", "inference"), STAGES.values(), ids=STAGES)
def test_an_agent_that_is_told_ends_with_its_child_and_has_not_tried(
    store: FolderStore, tmp_path: Path, number: signal.Signals, compiled: str, inference: str
) -> None:
    promote_scripted(store, tmp_path / "a", compiled=compiled, inference=inference)
    scripted_runtime(tmp_path)
    command, environ = _command(store, tmp_path)
    with _ended(command, cwd=Path(__file__).parents[5], env=environ, stderr=-1, text=True) as agent:
        child = _pid_of_hanging(tmp_path)
        agent.send_signal(number)
        _, log = agent.communicate(timeout=60)
    assert (agent.returncode, "Traceback" in log) == (0, False), log
    _wait_until_gone(child)
    assert (tmp_path / "work/seen.json").read_bytes() == b"{}"


def test_an_agent_that_is_told_ends_while_it_downloads(store: FolderStore, tmp_path: Path) -> None:
    """From a pipe, as long as nobody writes to it."""
    pointer = promote_scripted(store, tmp_path / "a")
    scripted_runtime(tmp_path)
    weights = store.folder / release_file_key(pointer.release_id, "cpu-fp32.bin")
    weights.unlink()
    os.mkfifo(weights)
    command, environ = _command(store, tmp_path)
    with (
        _ended(command, cwd=Path(__file__).parents[5], env=environ, stderr=-1, text=True) as agent,
        open(weights, "wb"),  # waits until the agent reads
    ):
        agent.send_signal(signal.SIGTERM)
        _, log = agent.communicate(timeout=60)
    assert (agent.returncode, "Traceback" in log) == (0, False), log
    assert not (tmp_path / "work/releases").exists()


DEADLOCK = """
import ctypes
from infra.device.agent.ending import ends_when_told
mutex = ctypes.create_string_buffer(64)
with ends_when_told(7):
    library = ctypes.CDLL(None)
    library.pthread_mutex_lock(mutex)
    print("waits", flush=True)
    library.pthread_mutex_lock(mutex)  # no signal interrupts this
"""


def test_an_agent_that_is_told_ends_where_no_signal_interrupts_it() -> None:
    """As while a name is looked up."""
    command = [sys.executable, "-c", DEADLOCK]
    with _ended(command, cwd=Path(__file__).parents[5], stdout=-1, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(timeout=60) == 7
