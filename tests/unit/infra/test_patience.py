"""A store that is away is waited for, and not for ever."""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path

import pytest

from infra.device.errors import (
    ClockError,
    ConflictError,
    DamagedAnswerError,
    DigestMismatchError,
    NotStoredError,
    StoreRefusesError,
    StoreUnavailableError,
)
from infra.device.stores.folder_store import FolderStore
from infra.device.trust import Trust
from infra.errors import StoreGoneError
from infra.patience import patient
from tests.signing import root_file, sign


class AwayStore(FolderStore):
    """Answers after a time of the test's clock."""

    def __init__(self, folder: Path, back_at: float) -> None:
        super().__init__(folder)
        self.back_at, self.now, self.asked = back_at, 0.0, 0

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        self.asked += 1
        if self.now < self.back_at:
            raise StoreUnavailableError(f"{key}: no answer")
        return super().get(key, max_bytes=max_bytes)

    def wait(self, seconds: float) -> None:
        self.now += seconds


def waited_for(store: AwayStore, wait_s: float) -> AwayStore:
    return patient(store, store.url, wait_s, clock=lambda: store.now, sleep=store.wait)


def test_a_store_that_is_back_in_time_was_only_slow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = AwayStore(tmp_path, back_at=1200.0)
    store.put("a", b"1")
    with caplog.at_level(logging.WARNING):
        assert waited_for(store, 3600).get("a", max_bytes=1) == b"1"
    assert 1200 <= store.now < 1230
    assert store.asked < 50
    assert "no answer; trying again in 30 s" in caplog.text


def test_a_store_that_stays_away_is_given_up_in_words(tmp_path: Path) -> None:
    store = AwayStore(tmp_path, back_at=10_000.0)
    with pytest.raises(StoreGoneError, match=r"did not answer for \d{4} s, of 3600 s that a run waits: a: no answer"):
        waited_for(store, 3600).get("a")
    assert 3500 < store.now <= 3600


@pytest.mark.parametrize("error", [NotStoredError, ConflictError, StoreRefusesError, ClockError])
def test_every_other_answer_comes_at_once(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: object, **__: object) -> str:
        raise error("no")

    store = AwayStore(tmp_path, back_at=0.0)
    monkeypatch.setattr(store, "put", put)
    with pytest.raises(error):
        waited_for(store, 3600).put("a", b"")
    assert store.now == 0.0


def test_what_a_store_says_of_itself_stays(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert (patient(store, "here", 1.0).url, patient(store, "here", 1.0).address) == (store.url, store.address)


def test_nothing_is_locked_while_what_is_signed_is_waited_for(tmp_path: Path) -> None:
    store = AwayStore(tmp_path / "store", back_at=3.0)
    sign(FolderStore(tmp_path / "store"), "targets/cpu-fp32/current.json", b"{}")
    trust, folder = Trust(store, root_file().read_bytes(), tmp_path / "trust"), tmp_path / "trust"

    def wait(seconds: float) -> None:
        store.wait(seconds)
        (lock,) = folder.rglob("lock")
        with open(lock, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError where somebody holds it

    patient(trust, store.url, 3600, clock=lambda: store.now, sleep=wait).refresh()
    assert store.now >= 3.0


def test_what_is_damaged_where_it_is_kept_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(*_: object, **__: object) -> bytes:
        raise DamagedAnswerError("a: another checksum")

    store = AwayStore(tmp_path, back_at=0.0)
    monkeypatch.setattr(store, "get", get)
    with pytest.raises(DigestMismatchError, match="a: another checksum"):
        waited_for(store, 3600).get("a")
    assert store.now < 10
