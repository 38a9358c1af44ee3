"""One agent at a time on a work folder: two would send, measure and forget each other's reports."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.device.errors import SettingsError
from infra.device.files.local_errors import local_errors

_INSTANT_S = 0.2


@contextmanager
def only_agent(work_folder: Path) -> Iterator[None]:
    """Holds the folder for this process, and makes it when missing; a kill gives it back as well.

    Raises:
        SettingsError: another process holds it; with its number.
    """
    path = work_folder / "agent.lock"
    with local_errors(str(path)):
        work_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _hold(descriptor)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace")
            raise SettingsError(
                f"work folder {work_folder}: another agent uses it (process {holder or 'unknown'}); "
                "end that one, or give this one a folder of its own by --work-folder"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def holder(work_folder: Path) -> str | None:
    """The number of the process that holds the folder, `unknown` where it does not say; None when none does.

    Raises:
        SettingsError: not permitted to look.
    """
    path = work_folder / "agent.lock"
    with local_errors(str(path)):
        try:
            with open(path, "rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return lock.read(20).decode("ascii", "replace") or "unknown"
        except (FileNotFoundError, NotADirectoryError):
            pass
    return None


def _hold(descriptor: int) -> None:
    """Holds the lock; tries again once, as `holder` has it for an instant.

    Raises:
        BlockingIOError: another process holds it.
    """
    with suppress(BlockingIOError):
        return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(_INSTANT_S)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
