"""Processes that outlive the command which started them. Linux: everything is read from /proc."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.errors import StackError

_POLL_S = 0.1
_KILLED_WITHIN_S = 10.0


@dataclass(frozen=True)
class Process:
    """One process, told from a later one with the same pid by its start: boot, and kernel ticks since then."""

    pid: int
    started: str


def start_process(command: Sequence[str], *, environ: Mapping[str, str], log: Path) -> Process:
    """Starts a process in a session of its own, which no closing terminal ends; its output is appended to the log.

    What it and its own processes write is for this user alone: files, and the sockets that they have in /tmp.

    Raises:
        StackError: the program cannot be run.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    umask = os.umask(0o077)
    try:
        pid = os.posix_spawn(command[0], list(command), environ, file_actions=files, setsid=True)
    except OSError as error:
        raise StackError(f"{command[0]}: cannot be started: {error}") from error
    finally:
        os.umask(umask)
    return _read(pid)[0]  # there even if it has ended: nobody has collected it yet


def is_running(process: Process) -> bool:
    """The process has not ended. One that ended and was not collected by its parent counts as ended."""
    try:
        found, state = _read(process.pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return found == process and state not in "ZX"


def processes_by(variable: str) -> dict[str, list[Process]]:
    """Every running process of this user but this one, by the value that this environment variable had at its start."""
    name, found = f"{variable}=".encode(), defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(name):
                    process = _read(int(folder.name))[0]
                    if process.pid != os.getpid() and is_running(process):
                        found[os.fsdecode(entry.removeprefix(name))].append(process)
    return dict(found)


def processes_with(variable: str, value: str) -> list[Process]:
    """Every running process of this user that was started with this environment variable, other than this one."""
    return processes_by(variable).get(value, [])


def ask_to_reload(process: Process) -> None:
    """Sends SIGHUP, on which SeaweedFS reads its identities anew.

    Raises:
        StackError: the process belongs to another user.
    """
    _signal_all([process], signal.SIGHUP)


def end_processes(processes: Collection[Process], grace_s: float) -> None:
    """Asks the processes to end, and kills what still runs after `grace_s` seconds.

    Raises:
        StackError: one cannot be ended.
    """
    _signal_all(processes, signal.SIGTERM)
    left = _left_after(processes, grace_s)
    _signal_all(left, signal.SIGKILL)
    if left := _left_after(left, _KILLED_WITHIN_S):
        raise StackError(f"processes {[process.pid for process in left]}: still there after SIGKILL")


def _signal_all(processes: Collection[Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            # The descriptor belongs to one process for good, its pid does not: look at it before the signal is sent.
            descriptor = os.pidfd_open(process.pid)
            try:
                if is_running(process):
                    signal.pidfd_send_signal(descriptor, number)
            except PermissionError as error:
                raise StackError(f"process {process.pid}: belongs to another user: {error}") from error
            finally:
                os.close(descriptor)


def _left_after(processes: Collection[Process], limit_s: float) -> list[Process]:
    """What still runs when all have ended or the time is up."""
    deadline = time.monotonic() + limit_s
    while (left := [process for process in processes if is_running(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for process in processes:
        with suppress(ChildProcessError):  # collected by whoever started it
            os.waitpid(process.pid, os.WNOHANG)
    return left


def _read(pid: int) -> tuple[Process, str]:
    """The process and the letter of its state (proc(5): R, S, D, T, Z, X, ...)."""
    # The second field is the program's name in brackets and may hold blanks and brackets itself.
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Process(pid, f"{boot}/{fields[19]}"), fields[0]
