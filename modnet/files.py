"""Writing files so that no reader ever sees half of one."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; until the new file is complete on disk the old one stays.

    Raises:
        OSError: as the operating system says; nothing of the attempt is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
