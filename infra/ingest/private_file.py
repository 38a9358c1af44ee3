"""Files of secrets: only their owner may read them, and one process at a time changes them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.device.errors import SettingsError
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors


def private_stat(path: Path) -> os.stat_result | None:
    """What the file system says of the file; None where there is none.

    Raises:
        SettingsError: others may read it.
    """
    with local_errors(str(path)):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
    if found.st_mode & 0o077:
        raise SettingsError(
            f"{path}: open to other users (mode {found.st_mode & 0o777:03o}, wanted 600); make it 600, "
            "and give every device a new key if others use this machine"
        )
    return found


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keeps every other writer of the file waiting; its folder is made."""
    with local_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def write_private(path: Path, content: object) -> None:
    """Writes JSON, whole or not at all."""
    with local_errors(str(path)), atomic_file(path) as partial:  # a temporary file is born with mode 0600
        partial.write(json.dumps(content, indent=1).encode())
