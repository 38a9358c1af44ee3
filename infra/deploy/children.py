"""Processes that are one service: they end together, and the service ends with them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

_POLL_S = 1.0
_GRACE_S = 20.0


def run_together(
    commands: Sequence[Sequence[str]], each_second: Callable[[list[subprocess.Popen[bytes]]], None] | None = None
) -> int:
    """Runs programs until one of them ends, or SIGTERM or SIGINT comes; the others are ended then.

    Args:
        commands: one for each process.
        each_second: called meanwhile with the processes.

    Returns:
        The exit code of the one that ended, 0 after a signal.
    """
    ended_by: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: ended_by.append(received))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            # In a session of its own: the signal of a terminal reaches this process alone, which passes it on.
            processes.append(subprocess.Popen(command, start_new_session=True))
        while not ended_by and all(process.poll() is None for process in processes):
            if each_second is not None:
                each_second(processes)
            time.sleep(_POLL_S)
    finally:
        codes = [code for process in processes if (code := process.poll()) is not None]
        _end(processes)
    return 0 if ended_by else next((code for code in codes if code), 1)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()  # sends nothing to one that was waited for
    deadline = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
