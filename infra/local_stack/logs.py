"""The logs of a stack's services, which they only ever append to."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

MAX_BYTES = 16 << 20


def shorten_logs(folder: Path, max_age: timedelta, max_bytes: int = MAX_BYTES, *, remove: bool = True) -> list[Path]:
    """Moves the end of a log larger than `max_bytes` to its `.1`, so much of it, and removes what is old; returns both.

    Without `remove` they are only found.
    The service goes on writing at the new end, as it appends (`start_process`). SeaweedFS begins files of its own at
    each start and when they are large: those that nobody has written to for `max_age` go.
    """
    changed = []
    for log in sorted(folder.glob("*")):
        with suppress(FileNotFoundError):
            found = log.stat()
            if log.suffix == ".log" and found.st_size > max_bytes:
                changed.append(log)
                if remove:
                    with log.open("rb") as whole:
                        whole.seek(max(0, whole.seek(0, os.SEEK_END) - max_bytes))
                        log.with_suffix(".log.1").write_bytes(whole.read(max_bytes))
                    os.truncate(log, 0)
            elif log.suffix != ".log" and time.time() - found.st_mtime > max_age.total_seconds():
                changed.append(log)
                if remove:
                    log.unlink()
    return changed
