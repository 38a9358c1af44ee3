"""Where a local Ray keeps its logs and sockets: a folder whose path is short enough for a socket, and writable."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.device.errors import SettingsError

# Linux allows the path of a socket 107 bytes; Ray puts this behind the folder, with a process id of up to 7 digits.
_SOCKET = "/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store"
MAX_BYTES = 107 - len(_SOCKET)
_NAME = "ray"  # as Ray calls it itself
_ELSEWHERE = ("/tmp", "/var/tmp")


def ray_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`ray` in the first folder that can hold it: RAY_TMPDIR, that of Python's temporary files, /tmp, /var/tmp.

    Raises:
        SettingsError: none can; says each and why.
    """
    wanted = environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or tempfile.gettempdir()
    refused = []
    for parent in dict.fromkeys((wanted, *_ELSEWHERE)):
        folder = Path(parent).absolute() / _NAME
        if not (reason := _unusable(folder)):
            return folder
        refused.append(f"{folder}: {reason}")
    raise SettingsError(
        f"no folder for Ray's sockets and logs: {'; '.join(refused)}; "
        f"name a writable folder of at most {MAX_BYTES - len(_NAME) - 1} bytes by RAY_TMPDIR"
    )


def _unusable(folder: Path) -> str:
    """Why Ray cannot work in a folder, which need not exist yet; empty when it can."""
    if (length := len(os.fsencode(folder))) > MAX_BYTES:
        return f"{length} bytes long, at most {MAX_BYTES} leave a socket room"
    existing = folder if folder.exists() else folder.parent
    if not existing.is_dir():
        return "no such folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return "not writable"
    return ""
