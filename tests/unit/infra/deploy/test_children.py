from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.deploy.children import run_together

WITHIN_S = 60.0
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signals of this process mean afterwards what they meant before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_all_end_with_the_first_and_its_exit_code() -> None:
    seen: list[subprocess.Popen[bytes]] = []
    failing = [sys.executable, "-c", "import sys, time; time.sleep(2); sys.exit(7)"]
    assert run_together([SLEEP, failing], seen.extend) == 7
    assert len(seen) >= 2
    assert all(process.poll() is not None for process in seen)


def test_a_service_that_ends_without_an_error_was_not_asked_to() -> None:
    assert run_together([[sys.executable, "-c", ""]]) == 1


def test_nothing_stays_when_a_program_cannot_be_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    first = [sys.executable, "-c", f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"]
    with pytest.raises(FileNotFoundError):
        run_together([first, ["/nonexistent/program"]])
    if pid.exists():  # else it was ended before it wrote
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_sigterm_ends_all_in_good_order(tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    child = f"""
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path({str(ended)!r}).write_text("in good order")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(started)!r}).touch()
time.sleep(600)
"""
    service = f"""
import sys
from infra.deploy.children import run_together
sys.exit(run_together([[sys.executable, "-c", {child!r}]]))
"""
    process = subprocess.Popen([sys.executable, "-c", service], cwd=Path(__file__).parents[4])
    deadline = time.monotonic() + WITHIN_S
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=WITHIN_S) == 0
    assert ended.read_text() == "in good order"
