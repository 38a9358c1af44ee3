from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.errors import StackError
from infra.local_stack.processes import Process, end_processes, is_running, processes_with, start_process

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python programs, and ends them after the test."""
    started = []

    def start_program(program: str, **environ: str) -> Process:
        process = start_process([sys.executable, "-c", program], environ=environ, log=tmp_path / "log")
        started.append(process)
        return process

    yield start_program
    end_processes(started, 0.0)


def wait_for(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_start_process_gives_a_process_in_its_own_session_whose_files_are_its_users_with_its_output_in_the_log(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("before\n")
    program = "import os, time; print(os.environ['COLOUR'], oct(os.umask(0)), flush=True); time.sleep(60)"
    process = start(program, COLOUR="blue")
    wait_for(lambda: (tmp_path / "log").read_text() == "before\nblue 0o77\n")
    assert is_running(process)
    assert os.getsid(process.pid) == process.pid


def test_start_process_refuses_when_the_program_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no-such-program"):
        start_process([str(tmp_path / "no-such-program")], environ={}, log=tmp_path / "log")


def test_is_running_is_false_when_the_process_has_ended_uncollected(start: Start) -> None:
    process = start("")
    wait_for(lambda: not is_running(process))
    assert Path(f"/proc/{process.pid}").exists()


def test_end_processes_spares_a_later_process_with_the_same_pid(start: Start) -> None:
    process = start("import time; time.sleep(60)")
    earlier = Process(process.pid, process.started.rpartition("/")[0] + "/1")
    assert not is_running(earlier)
    end_processes([earlier], 0.0)
    time.sleep(0.2)
    assert is_running(process)


def test_end_processes_lets_a_process_clean_up(start: Start, tmp_path: Path) -> None:
    process = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('goodbye')))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    end_processes([process], 10.0)
    assert "goodbye" in (tmp_path / "log").read_text()


def test_end_processes_kills_when_asking_does_not_help(start: Start, tmp_path: Path) -> None:
    process = start(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    wait_for(lambda: "ready" in (tmp_path / "log").read_text())
    end_processes([process], 0.2)
    assert not is_running(process)
    assert not Path(f"/proc/{process.pid}").exists()


def test_processes_with_finds_what_a_started_process_started_in_another_session(start: Start, tmp_path: Path) -> None:
    start(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)",
        STACK=str(tmp_path),
    )
    start("import time; time.sleep(60)", STACK=str(tmp_path / "other"))
    wait_for(lambda: (tmp_path / "log").read_text().endswith("\n"))
    wait_for(lambda: len(processes_with("STACK", str(tmp_path))) == 2)
    found = processes_with("STACK", str(tmp_path))
    assert int((tmp_path / "log").read_text()) in {process.pid for process in found}
    end_processes(found, 5.0)
    assert processes_with("STACK", str(tmp_path)) == []


def test_processes_with_leaves_out_this_process() -> None:
    program = (
        "import os; from infra.local_stack.processes import processes_with; "
        "assert processes_with('STACK', 'mine') == []; assert os.environ['STACK'] == 'mine'"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "STACK": "mine"}, check=True)


def test_end_processes_does_nothing_when_the_process_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    end_processes([Process(ended.pid, "boot/1")], 0.0)
    assert ended.returncode == 0
