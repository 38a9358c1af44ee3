"""What of the cache goes, and that nothing goes that a process holds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from infra import cache as module
from infra.cache import bound, bound_daily, held_folder, hold, hold_around

DAY_S = 24 * 3600


def entry(cache: Path, name: str, days_ago: float, size: int = 100) -> Path:
    """A folder with one file, used so long ago."""
    folder = cache / name
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * size)
    used = time.time() - days_ago * DAY_S
    os.utime(folder, (used, used))
    return folder


def test_what_is_old_goes_and_then_what_was_used_longest_ago(tmp_path: Path) -> None:
    old = entry(tmp_path, "objects/old", 20)
    third, second, first = (entry(tmp_path, f"datasets/{days}", days) for days in (5, 3, 2))
    today = entry(tmp_path, "exports/today", 0.5, size=1000)
    trust = entry(tmp_path, "trust/store", 400)
    assert bound(tmp_path, max_bytes=1300, remove=False) == [old]
    assert bound(tmp_path, max_bytes=1300) == [old]
    assert bound(tmp_path, max_bytes=1199) == [third, second]
    assert bound(tmp_path, max_bytes=0) == [first]  # what was used today stays however much it is
    assert [path for path in (old, third, second, first, today, trust) if path.exists()] == [today, trust]


def test_what_this_process_holds_stays_and_counts_as_used(tmp_path: Path) -> None:
    folder = entry(tmp_path, "objects/held", 400)
    assert held_folder(folder) == folder
    assert time.time() - folder.stat().st_mtime < 600
    os.utime(folder, (0, 0))
    assert bound(tmp_path, max_bytes=0) == []
    assert folder.exists()


def test_a_state_of_a_training_is_an_entry_and_goes_by_the_same_rule(tmp_path: Path) -> None:
    old, base, young = (
        entry(tmp_path, f"trainings/{folder}", days)
        for folder, days in (("candidates/a", 20), ("bases/b", 20), ("candidates/c", 3))
    )
    hold(base)
    os.utime(base, (0, 0))
    assert bound(tmp_path) == [old]
    assert bound(tmp_path, max_bytes=0) == [young]
    assert base.exists()


def test_the_entry_around_a_folder_is_held_and_nothing_outside_of_the_cache_is_touched(tmp_path: Path) -> None:
    cache, mine = tmp_path / "cache", tmp_path / "mine"
    inside, folder = entry(cache, "datasets/a", 400), entry(cache, "datasets/b", 400)
    (inside / "portraits" / "train").mkdir(parents=True)
    mine.mkdir()
    for path in (inside, mine):
        os.utime(path, (0, 0))
    (tmp_path / "link").symlink_to(cache)
    for path in (tmp_path / "link" / "datasets" / "a" / "portraits", mine, cache, cache / "datasets"):
        hold_around(cache, path)
    assert time.time() - inside.stat().st_mtime < 600
    os.utime(inside, (0, 0))
    assert bound(cache, max_bytes=0) == [folder]
    assert mine.stat().st_mtime == 0


def test_what_is_used_while_the_cache_is_looked_through_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = entry(tmp_path, "objects/first", 30), entry(tmp_path, "objects/second", 20)
    remove = module._remove

    def remove_slowly(path: Path) -> None:
        os.utime(second)  # a process has used it, and ended
        remove(path)

    monkeypatch.setattr(module, "_remove", remove_slowly)
    assert bound(tmp_path) == [first]
    assert second.exists()


@pytest.mark.parametrize("ending", ["exits", "killed"])
def test_another_process_holds_as_long_as_it_lives(tmp_path: Path, ending: str) -> None:
    archive = tmp_path / "archives" / "data.zip"
    archive.parent.mkdir()
    archive.write_bytes(b"zip")
    program = "from infra.cache import hold; print(hold(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    program = f"import sys; from pathlib import Path; {program}"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(archive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        os.utime(archive, (0, 0))
        assert bound(tmp_path, max_bytes=0) == []
        if ending == "killed":
            holder.kill()
        else:
            holder.communicate()
        holder.wait(timeout=60)
    assert bound(tmp_path, max_bytes=0) == [archive]
    assert not archive.exists()
    assert not hold(archive)


def test_a_removal_that_was_killed_leaves_no_half_of_an_entry_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = entry(tmp_path, "datasets/old", 20)
    with monkeypatch.context() as patched:
        patched.setattr("infra.cache.shutil.rmtree", lambda *_, **__: None)  # as if killed before it
        bound(tmp_path)
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 1
    bound(tmp_path)
    assert list(folder.parent.iterdir()) == []


def test_once_a_day_is_enough(tmp_path: Path) -> None:
    old = entry(tmp_path, "objects/old", 20)
    assert bound_daily(tmp_path) == [old]
    old = entry(tmp_path, "objects/old", 20)
    assert bound_daily(tmp_path) == []
    os.utime(tmp_path / ".bounded", (0, 0))
    assert bound_daily(tmp_path) == [old]
    assert bound(tmp_path / "none", max_age=timedelta(days=1)) == []
