"""One agent at a time on a work folder: two would send, measure and forget each other's reports."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.device.errors import SettingsError
from infra.device.files.local_errors import local_errors


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
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
