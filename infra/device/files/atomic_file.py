"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO

PARTIAL_PREFIX = ".partial-"


@contextmanager
def atomic_file(path: Path, gate: AbstractContextManager[None] | None = None) -> Iterator[IO[bytes]]:
    """A binary file to write, which becomes `path` when the block ends well and is removed when it does not.

    The content is on the disk before its name is, so a power cut leaves the old file or the new one. A kill can leave
    a neighbour whose name starts with PARTIAL_PREFIX. Parent folders are made.

    Args:
        path: the file to make or replace.
        gate: entered around the rename alone; may refuse it by raising, or hold a lock for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PARTIAL_PREFIX, delete=False) as partial:
        try:
            yield partial
            partial.flush()
            os.fsync(partial.fileno())
            with gate or nullcontext():
                os.replace(partial.name, path)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise
    descriptor = os.open(path.parent, os.O_RDONLY)  # the folder holds the new name
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
