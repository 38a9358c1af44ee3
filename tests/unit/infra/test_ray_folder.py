from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from infra import ray_folder
from infra.device.errors import SettingsError

NAME = f"ray-{os.getuid()}"


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of this test whose path leaves a socket room."""
    link = Path(f"/tmp/r{os.getpid()}")
    link.symlink_to(tmp_path_factory.mktemp("short"))
    yield link
    link.unlink()


def test_ray_folder_is_that_of_temporary_files(short: Path) -> None:
    assert ray_folder.ray_folder({"TMPDIR": str(short)}) == short / NAME / "ray"
    assert ray_folder.ray_folder({"RAY_TMPDIR": str(short), "TMPDIR": "/tmp"}) == short / NAME / "ray"


def test_ray_folder_is_entered_by_this_user_only(short: Path) -> None:
    (short / NAME).mkdir()
    (short / NAME).chmod(0o755)  # as an umask left it
    assert ray_folder.ray_folder({"TMPDIR": str(short)}).parent.stat().st_mode & 0o777 == 0o700


def test_ray_folder_is_elsewhere_when_somebody_has_put_something_there(short: Path, tmp_path: Path) -> None:
    (short / NAME).symlink_to(tmp_path)
    assert ray_folder.ray_folder({"TMPDIR": str(short)}) == Path("/tmp") / NAME / "ray"


def test_ray_folder_is_elsewhere_when_the_path_leaves_a_socket_no_room(tmp_path: Path) -> None:
    rest = len(f"/{NAME}/ray")
    fits = f"/tmp/{'x' * 60}"[: ray_folder.MAX_BYTES - rest]
    assert not ray_folder._unusable(Path(f"{fits}/{NAME}/ray")).endswith("room")
    assert ray_folder._unusable(Path(f"{fits}x/{NAME}/ray")).endswith("at most 43 leave a socket room")
    long = tmp_path / ("ä" * 30)
    long.mkdir()
    assert ray_folder.ray_folder({"TMPDIR": str(long)}) == Path("/tmp") / NAME / "ray"


def test_ray_folder_names_all_that_cannot_be_used_and_why(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder, "_ELSEWHERE", ("/proc/none", f"/tmp/{'x' * 60}"))
    (short / NAME).touch()
    with pytest.raises(SettingsError) as error:
        ray_folder.ray_folder({"TMPDIR": str(short)})
    rest = ray_folder.MAX_BYTES - len(f"/{NAME}/ray")
    parts = (f"{short / NAME}/ray: cannot be made: File exists", f"/proc/none/{NAME}/ray: cannot be made: No such file")
    for part in (*parts, f"{65 + len(f'/{NAME}/ray')} bytes long", f"at most {rest} bytes"):
        assert part in str(error.value)


def test_sessions_of_rays_that_have_ended_go_when_they_are_old(tmp_path: Path) -> None:
    ended = next(pid for pid in range(4_194_000, 3_000_000, -1) if not Path("/proc", str(pid)).exists())
    names = {pid: f"session_2026-01-31_23-59-59_123456_{pid}" for pid in (ended, os.getpid())}
    for name in (*names.values(), "session_latest", "mine"):
        (tmp_path / name / "logs").mkdir(parents=True)
        os.utime(tmp_path / name, (0, 0))
    young = tmp_path / f"session_2026-02-01_23-59-59_123456_{ended}"
    young.mkdir()
    assert ray_folder.remove_old_sessions(tmp_path, timedelta(days=1), remove=False) == [tmp_path / names[ended]]
    assert ray_folder.remove_old_sessions(tmp_path, timedelta(days=1)) == [tmp_path / names[ended]]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {names[os.getpid()], "session_latest", "mine", young.name}
