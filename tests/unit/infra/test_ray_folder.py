from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra import ray_folder
from infra.device.errors import SettingsError


def test_ray_folder_is_that_of_temporary_files(tmp_path: Path) -> None:
    short = Path("/tmp")
    assert ray_folder.ray_folder({"TMPDIR": str(short)}) == short / "ray"
    assert ray_folder.ray_folder({"RAY_TMPDIR": "/var/tmp", "TMPDIR": str(short)}) == Path("/var/tmp/ray")


def test_ray_folder_is_elsewhere_when_the_path_leaves_a_socket_no_room(tmp_path: Path) -> None:
    fits = f"/tmp/{'x' * 60}"[: ray_folder.MAX_BYTES - len("/ray")]
    assert not ray_folder._unusable(Path(f"{fits}/ray")).endswith("room")
    assert ray_folder._unusable(Path(f"{fits}x/ray")).endswith("at most 43 leave a socket room")
    long = tmp_path / ("ä" * 30)
    long.mkdir()
    assert ray_folder.ray_folder({"TMPDIR": str(long)}) == Path("/tmp/ray")


def test_ray_folder_names_all_that_cannot_be_used_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder, "_ELSEWHERE", ("/proc/none", f"/tmp/{'x' * 60}"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(SettingsError) as error:
        ray_folder.ray_folder({"TMPDIR": "/var/tmp"})
    for part in ("/var/tmp/ray: not writable", "/proc/none/ray: no such folder", "69 bytes long", "at most 39 bytes"):
        assert part in str(error.value)
