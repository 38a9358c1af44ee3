"""Runs one child (`infra.device.measuring.child`) to its end, or ends it where it hangs."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, NoReturn

import infra.device
from infra.device.agent.settings import Deadlines, RuntimeSettings
from infra.device.documents.json_object import JsonObject, parse_json
from infra.device.errors import ChildLostError, ContractError, InfraError, SettingsError
from infra.device.measuring.request import (
    BEAT,
    COMPARED,
    DONE,
    END,
    ERROR,
    GOLDEN,
    LOADED,
    NOT_COMPARED,
    RUNTIME,
    TOLD_ERRORS,
    Request,
)
from infra.device.notify import ALIVE, notify

MAX_ANSWER_BYTES = 2 << 20  # a report of twice MOST_RUNS has less than half of it
_LAST_WORDS = 1000  # bytes of stderr
_LOOK_EVERY_S = 1.0  # whether the child has ended, where another process holds its pipe
_LOOK_SOON_S = 0.02  # where it has closed them
_KILLED_WITHIN_S = 1.0
# `python -m infra.device.measuring.child`, but that only `infra.device` is taken from where the agent's is: other
# packages there may be of another Python.
_BOOTSTRAP = """
import sys
sys.path.insert(0, sys.argv[1])
import infra.device
del sys.path[0]
from infra.device.measuring.child import main
main(agent=int(sys.argv[2]))
"""
_STARTING = ""
_DOING = {  # after each answer
    _STARTING: "importing the runtime",
    RUNTIME: "loading the network",
    LOADED: "running the golden images",
    GOLDEN: "running the network",
    BEAT: "running the network",
    DONE: "loading the release before",
    COMPARED: "ending",
    NOT_COMPARED: "ending",
    END: "ending",
}

Take = Callable[[str, JsonObject], None]


def run_child(runtime: RuntimeSettings, request: Request, deadlines: Deadlines, take: Take) -> None:
    """Lets a child of a runtime do what is asked; nothing of it is left when this ends, in whatever way.

    Args:
        runtime: whose interpreter runs it.
        request: what it does.
        deadlines: after which it is killed, with all processes of its group.
        take: is given each answer by its stage, as it comes; a ContractError means that it is none.

    Raises:
        ContractError, DeviceMissingError, SettingsError: as the child says.
        SettingsError: the interpreter cannot be started.
        ChildLostError: it crashed, hung, or made no sense; says while doing what, and its last words.
    """
    process = _started(runtime, request)
    try:
        _Conversation(process, deadlines, take).run()
    finally:
        _kill(process)


def package_root() -> str:
    """Where `infra` was imported from: a folder, or an archive of Python files."""
    return str(Path(os.path.abspath(infra.device.__file__)).parents[2])


def _started(runtime: RuntimeSettings, request: Request) -> subprocess.Popen[bytes]:
    command = [str(runtime.python), "-c", _BOOTSTRAP, package_root(), str(os.getpid())]
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **runtime.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a group of its own, to be killed as one
        )
    except OSError as error:
        raise SettingsError(f"runtime {runtime.name}: {runtime.python} cannot be started: {error}") from error
    with suppress(BrokenPipeError):  # it has ended; its exit code is looked at below
        assert process.stdin is not None
        process.stdin.write(request.to_line())
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the group before its leader is reaped, while the number still is its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a driver holds it; the agent goes on without
        process.wait(_KILLED_WITHIN_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


class _Conversation:
    """What one child says, until it is done."""

    def __init__(self, process: subprocess.Popen[bytes], deadlines: Deadlines, take: Take) -> None:
        self._process = process
        self._deadlines = deadlines
        self._take = take
        self._begun = b""  # of an answer
        self._last_words = b""
        self._stage = _STARTING
        self._told: InfraError | None = None
        self._ends_at = time.monotonic() + deadlines.all_s
        self._due_at = time.monotonic() + deadlines.load_s

    def run(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector:
            for pipe in (self._process.stdout, self._process.stderr):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            while self._stage != END:
                notify(ALIVE)
                left_s = min(self._due_at, self._ends_at) - time.monotonic()
                if left_s <= 0:
                    self._hung()
                has_ended = self._has_ended()  # looked at first: what it said before is still in the pipes
                wait_s = _LOOK_EVERY_S if selector.get_map() else _LOOK_SOON_S
                found = selector.select(0 if has_ended else min(left_s, wait_s))
                for key, _ in found:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self._process.stderr:
                        self._last_words = (self._last_words + data)[-_LAST_WORDS:]
                    else:
                        self._read(data)
                if has_ended and not found and self._stage != END:
                    self._crashed()
        if self._told is not None:
            raise self._told

    def _read(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        try:
            if len(self._begun) > MAX_ANSWER_BYTES:
                raise ContractError(f"answer: got more than {MAX_ANSWER_BYTES} bytes")
            for line in lines:
                answer = parse_json(line, "answer", max_bytes=MAX_ANSWER_BYTES)
                self._answered(answer.text("stage"), answer)
        except ContractError as error:
            raise ChildLostError(f"the child made no sense while {_DOING[self._stage]}: {error}") from error

    def _answered(self, stage: str, answer: JsonObject) -> None:
        if stage == ERROR:
            kind, words = answer.text("kind"), answer.text("words")
            if kind not in TOLD_ERRORS:
                raise ContractError(f"answer.kind: got {kind[:80]!r}, wanted one of {list(TOLD_ERRORS)}")
            self._told = TOLD_ERRORS[kind](words)
        elif stage in _DOING and stage not in (_STARTING, END):
            self._take(stage, answer)
        elif stage != END:
            raise ContractError(f"answer.stage: got {stage[:80]!r}, wanted one of {list(_DOING)[1:]}")
        self._stage = END if stage == ERROR else stage
        limit_s = self._deadlines.inference_s if stage == BEAT else self._deadlines.load_s
        self._due_at = time.monotonic() + limit_s

    def _has_ended(self) -> bool:
        """Without reaping it: its number stays its own until its group is killed."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _hung(self) -> NoReturn:
        limit = "all_s" if self._ends_at <= self._due_at else "inference_s" if self._stage == BEAT else "load_s"
        seconds = getattr(self._deadlines, limit)
        raise ChildLostError(f"hung while {_DOING[self._stage]}: killed after {seconds:g} s ({limit}){self._said()}")

    def _crashed(self) -> NoReturn:
        status = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert status is not None
        number, is_exit = status.si_status, status.si_code == os.CLD_EXITED
        how = f"exit code {number}" if is_exit else f"signal {number} ({signal.strsignal(number)})"
        raise ChildLostError(f"crashed while {_DOING[self._stage]}: ended by {how}{self._said()}")

    def _said(self) -> str:
        words = " ".join(self._last_words.decode("utf-8", "replace").split())
        return f"; its last words: {words}" if words else ""
