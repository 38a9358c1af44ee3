"""What the file system of this machine refuses, in our words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from infra.device.errors import DiskFullError, SettingsError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def local_errors(what: str) -> Iterator[None]:
    """Turns a full disk and a missing permission inside the block into our errors; lets others through.

    Args:
        what: the file or object that is written, for the message.

    Raises:
        DiskFullError: no room.
        SettingsError: not permitted.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(f"{what}: no room to write: {error}") from error
        if isinstance(error, PermissionError):
            raise SettingsError(f"{what}: not permitted: {error}") from error
        raise
