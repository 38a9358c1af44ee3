"""Whether the disks have room for what is about to be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from infra.device.errors import DiskFullError


def require_room(wanted: Mapping[str, tuple[Path, int]], advice: str) -> None:
    """Refuses work that would fill a disk; folders on one disk are added up.

    Args:
        wanted: by what it is for, the folder, which need not be there yet, and the bytes.
        advice: what to do, the end of the error.

    Raises:
        DiskFullError: a disk has less; says how much it has, how much is wanted, for what and where.
    """
    disks: dict[int, list[str]] = {}
    for what, (folder, _) in wanted.items():
        disks.setdefault(os.stat(existing(folder)).st_dev, []).append(what)
    for names in disks.values():
        free = min(shutil.disk_usage(existing(wanted[what][0])).free for what in names)
        total = sum(wanted[what][1] for what in names)
        if free < total:
            parts = ", ".join(f"{wanted[what][1] / 1e9:.2f} GB for {what} in {wanted[what][0]}" for what in names)
            raise DiskFullError(f"got {free / 1e9:.2f} GB of free disk, wanted {total / 1e9:.2f} GB: {parts}: {advice}")


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists())
