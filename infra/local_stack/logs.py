"""The logs of a stack's services, which they only ever append to."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

MAX_BYTES = 16 << 20


def shorten_logs(folder: Path, max_age: timedelta, max_bytes: int = MAX_BYTES) -> list[Path]:
    """Moves what a log larger than `max_bytes` holds to its `.1`, and removes what is old; returns both.

    The service goes on writing at the new end, as it appends (`start_process`). SeaweedFS begins files of its own at
    each start and when they are large: those that nobody has written to for `max_age` go.
    """
    changed = []
    for log in sorted(folder.glob("*")):
        with suppress(FileNotFoundError):
            found = log.stat()
            if log.suffix == ".log" and found.st_size > max_bytes:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)
                changed.append(log)
            elif log.suffix != ".log" and time.time() - found.st_mtime > max_age.total_seconds():
                log.unlink()
                changed.append(log)
    return changed
