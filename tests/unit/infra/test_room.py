"""A disk that is too small is told in words before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.device.errors import DiskFullError
from infra.room import require_room


def test_room_is_added_up_for_folders_on_one_disk_that_need_not_be_there(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    half = int(0.4 * free)
    require_room({"the store": (tmp_path / "not/yet", half), "the cache": (tmp_path, half)}, "tidy")
    wanted = {"the store": (tmp_path / "not/yet", half), "the cache": (tmp_path, free)}
    words = rf"got .* GB of free disk, wanted .* GB: .* GB for the store in {tmp_path}/not/yet, .* GB for the cache in"
    with pytest.raises(DiskFullError, match=f"{words}.*: tidy"):
        require_room(wanted, "tidy")
