"""Tasks of the flow tidy: announced for a week before the first removal, and this machine's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

import flows.tidy
from infra.device.errors import UntrustedError
from infra.ray_folder import ray_folder
from modnet.report.run_tables import Row
from tasks import tidy
from tasks.cli import main
from tasks.configs.tidy import TidyConfig
from tests.signing import keys
from tests.unit.tasks.test_tidying import History, name


@pytest.fixture
def shown() -> list[tuple[list[Row], str]]:
    return []


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: list[tuple[list[Row], str]]) -> Iterator[History]:
    """A store of a night of long ago, and one of yesterday."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(
        tidy, "create_table_artifact", lambda table, *, key, description: shown.append((table, description))
    )
    history = History(tmp_path / "store")
    history.dated(365, history.base)
    history.night(1, 100)
    history.night(2, 1)
    with disable_run_logger():
        yield history


def test_the_first_week_only_says_what_will_go(history: History, shown: list[tuple[list[Row], str]]) -> None:
    config = TidyConfig(keep_runs=1)
    old = history.of(name(1))
    day = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
    words = (
        f"would go: 21 objects, 0.0 MB; the first removals are on {day}, stop the schedule of this flow if you keep all"
    )
    assert tidy.tidy_store.fn(config.model_copy(update={"dry_run": True})) == "would go: 21 objects, 0.0 MB"
    for _ in range(2):
        assert tidy.tidy_store.fn(config) == words
    assert history.of(name(1)) == old
    history.date("tidy/announced", 7.01)
    assert tidy.tidy_store.fn(config) == "removed: 21 objects, 0.0 MB"
    assert history.of(name(1)) == set()
    assert history.of(name(2))
    assert [note for _, note in shown][-1] == "removed: 21 objects, 0.0 MB"
    assert tidy.tidy_store.fn(config) == "removed: 0 objects, 0.0 MB"


def test_nothing_goes_where_nobody_can_say_what_is_released(history: History) -> None:
    history.store.put("tuf/timestamp.json", b"{}")
    before = history.store.list("")
    with pytest.raises(UntrustedError):
        tidy.tidy_store.fn(TidyConfig(keep_runs=1))
    assert history.store.list("") == before


def test_this_machine_is_tidied_too_and_a_dry_run_says_all_of_it(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_STACK", str(tmp_path))
    ended = next(pid for pid in range(4_194_000, 3_000_000, -1) if not Path("/proc", str(pid)).exists())
    old = [
        tmp_path / "cache" / "objects" / "old",
        tmp_path / "cache" / "trainings" / "bases" / "old",
        ray_folder() / f"session_2026-01-31_23-59-59_123456_{ended}",
        tmp_path / "log" / "weed.log.INFO.1",
        tmp_path / "reports" / "2026-11-01_06-30-00",
    ]
    for folder in (*old, tmp_path / "reports" / "2026-11-02_06-30-00"):
        folder.mkdir(parents=True)
    (log := old[3]).rmdir()
    log.touch()
    for path in old:
        os.utime(path, (0, 0))
    said = tidy.tidy_machine.fn(TidyConfig(dry_run=True, keep_runs=1))
    assert sorted(said) == sorted(map(str, old))
    assert all(path.exists() for path in old)
    assert tidy.tidy_machine.fn(TidyConfig(keep_runs=1)) == said
    assert not [path for path in old if path.exists()]


def test_this_machine_is_tidied_also_where_the_store_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def fail(config: TidyConfig) -> str:
        raise UntrustedError("not signed")

    monkeypatch.setattr(flows.tidy, "tidy_store", fail)
    monkeypatch.setattr(flows.tidy, "tidy_machine", called.append)
    with pytest.raises(UntrustedError):
        flows.tidy.tidy.fn(TidyConfig())
    assert called == [TidyConfig()]


def test_the_verb_shows_first_and_removes_at_once(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "tidy", "--dry-run", "--keep-runs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "| candidates | 8 | 0.0 | goes | nothing that is kept needs it, and it is older than 14 days |" in printed
    assert "would go: 21 objects, 0.0 MB" in printed
    assert history.of(name(1))
    assert main(["store", "tidy", "--keep-runs", "1", "--json"]) == 0
    assert '"removed": "21 objects, 0.0 MB"' in capsys.readouterr().out
    assert history.of(name(1)) == set()
    assert main(["store", "tidy", "--keep-days", "1"]) == 3
    assert "--keep-days 1: Input should be greater than or equal to 2" in capsys.readouterr().err


def test_two_that_tidy_one_machine_at_once_do_not_hinder_each_other(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_STACK", str(tmp_path))
    ended = [pid for pid in range(4_194_000, 4_190_000, -1) if not Path("/proc", str(pid)).exists()][:20]
    old = [
        *(ray_folder() / f"session_2026-01-31_23-59-59_123456_{pid}" for pid in ended),
        *(tmp_path / "reports" / f"2026-11-{day:02}_06-30-00" for day in range(1, 21)),
        *(tmp_path / "cache" / "objects" / str(number) for number in range(20)),
    ]
    for folder in old:
        folder.mkdir(parents=True)
        for number in range(20):
            (folder / str(number)).write_bytes(b"x")
        os.utime(folder, (0, 0))
    (log := tmp_path / "log" / "prefect.log").parent.mkdir()
    log.write_bytes(b"line\n" * (4 << 20))
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(tidy.tidy_machine.fn, TidyConfig(keep_runs=1)) for _ in range(2)]
    assert {path for one in found for path in one.result()} == {str(path) for path in (*old, log)} - {str(old[39])}
    assert [path for path in old if path.exists()] == [old[39]]
    assert log.stat().st_size == 0
