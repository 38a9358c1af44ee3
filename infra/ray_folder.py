"""Where a local Ray keeps its logs and sockets: a folder of this user alone, with a path short enough for a socket."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from infra.device.errors import SettingsError

# Linux allows the path of a socket 107 bytes; Ray puts this behind the folder, with a process id of up to 7 digits.
_SOCKET = "/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store"
MAX_BYTES = 107 - len(_SOCKET)
# Ray lets everybody write into its folder, and asks for no token at the sockets there: it is within one that others do
# not enter.
_NAME = f"ray-{os.getuid()}"
_ELSEWHERE = ("/tmp", "/var/tmp")
_SESSION = re.compile(r"session_[-0-9]+_[-0-9]+_[0-9]+_([0-9]+)")


def ray_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`ray-UID/ray` in the first folder that can hold it: RAY_TMPDIR, that of Python's temporary files, /tmp, /var/tmp.

    `ray-UID` is made where it is missing, and entered by this user only.

    Raises:
        SettingsError: none can; says each and why.
    """
    wanted = environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or tempfile.gettempdir()
    refused = []
    for parent in dict.fromkeys((wanted, *_ELSEWHERE)):
        folder = Path(parent).absolute() / _NAME / "ray"
        if not (reason := _unusable(folder)):
            return folder
        refused.append(f"{folder}: {reason}")
    raise SettingsError(
        f"no folder for Ray's sockets and logs: {'; '.join(refused)}; "
        f"name a writable folder of at most {MAX_BYTES - len(_NAME) - len('//ray')} bytes by RAY_TMPDIR"
    )


def _unusable(folder: Path) -> str:
    """Why Ray cannot work in a folder, whose parent is made when it is missing; empty when it can."""
    if (length := len(os.fsencode(folder))) > MAX_BYTES:
        return f"{length} bytes long, at most {MAX_BYTES} leave a socket room"
    own = folder.parent
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return f"{own} is not a folder of this user"
    own.chmod(0o700)
    return ""


def remove_old_sessions(folder: Path, max_age: timedelta, *, remove: bool = True) -> list[Path]:
    """Removes what Rays of before have left in a `ray_folder`, and returns it; without `remove` it is only found.

    A session bears the process id of who started it, and ends with that process. So it is in use while there is a
    process of this id, and stays then.
    """
    gone = []
    for session in folder.glob("session_*_*"):
        found = _SESSION.fullmatch(session.name)
        if found is None or Path("/proc", found[1]).exists():
            continue
        with suppress(FileNotFoundError):  # somebody else removes it, too
            if time.time() - session.stat().st_mtime > max_age.total_seconds():
                gone.append(session)
                if remove:
                    shutil.rmtree(session, ignore_errors=True)
    return gone
