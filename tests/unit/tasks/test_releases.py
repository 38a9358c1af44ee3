"""Tasks of promote, roll-back, retire, retain and renew, on a folder store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from infra.device.errors import ConflictError
from infra.device.releases import read_current
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import published
from modnet.errors import ConfigError
from tasks import releases
from tests.signing import keys, publisher_of, trust_of
from tests.unit.infra.exported import three_releases


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    with disable_run_logger():
        yield FolderStore(tmp_path / "store")


@pytest.fixture
def made(store: FolderStore, tmp_path: Path) -> list[str]:
    """Three releases for two targets, the oldest first."""
    return three_releases(store, tmp_path)


def running(store: FolderStore) -> dict[str, str]:
    trust = trust_of(store)
    return {target: read_current(trust, target).release_id for target in ("cpu-fp32", "cpu-int8")}


def test_all_targets_of_a_release_are_promoted_unless_some_are_named(store: FolderStore, made: list[str]) -> None:
    assert releases.promote_release.fn(made[0], [], 1.0, False) == ["cpu-fp32", "cpu-int8"]
    assert releases.promote_release.fn(made[1], ["cpu-int8"], 1.0, False) == ["cpu-int8"]
    assert running(store) == {"cpu-fp32": made[0], "cpu-int8": made[1]}


def test_a_roll_back_that_is_tried_again_goes_back_once(store: FolderStore, made: list[str]) -> None:
    for release in made[:2]:
        releases.promote_release.fn(release, [], 1.0, False)
    current, before = releases.release_before.fn("cpu-int8")
    for _ in range(2):
        releases.roll_back_target.fn("cpu-int8", current, before)
    assert running(store) == {"cpu-fp32": made[1], "cpu-int8": made[0]}


def test_what_is_needed_is_neither_retired_nor_left_out_of_the_last(store: FolderStore, made: list[str]) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    with pytest.raises(ConflictError, match="runs it"):
        releases.retire_release.fn(made[0])
    assert releases.retain_releases.fn(1) == [made[1]]
    assert {one for one, _ in published(publisher_of(store))} == {made[0], made[2]}
    releases.retire_release.fn(made[2])
    with pytest.raises(ConfigError, match="last: got 0, wanted at least 1"):
        releases.retain_releases.fn(0)


def test_renewal_signs_for_a_week_removes_what_was_abandoned_and_tells_of_a_root_that_ends(
    store: FolderStore, made: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("publishing/0123456789ab.json", b"20200101T000000.000000Z")
    store.put("releases/0123456789ab/modnet.xml", b"half")
    monkeypatch.setattr(releases, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(releases, "_ROOT_NEARS_ITS_END", timedelta(days=400))
    with caplog.at_level(logging.INFO):
        until = releases.renew_signatures.fn()
    assert timedelta(days=6) < until - datetime.now(UTC) <= timedelta(days=7)
    assert store.list("releases/0123456789ab/") == []
    assert "removed what killed publications left: 0123456789ab" in caplog.text
    assert "sign it anew by `modnet keys sign`" in caplog.text
