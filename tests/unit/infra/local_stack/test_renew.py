from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.errors import UntrustedError
from infra.device.stores.folder_store import FolderStore
from infra.local_stack import renew
from infra.publishing import repository
from tests.signing import keys, sign, trust_of


@pytest.fixture(autouse=True)
def environ(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_STORE", store.url)
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))


def test_a_machine_that_was_off_for_eight_days_is_believed_again(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as eight_days_ago:
        expired = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        eight_days_ago.setattr(repository, "expiry", lambda role: expired)
        sign(store, "targets/a/current.json", b"x")
    with pytest.raises(UntrustedError, match="expired"):
        trust_of(store).refresh()
    assert renew.main() == 0
    assert trust_of(store).read("targets/a/current.json", max_bytes=1) == b"x"


def test_nothing_is_signed_where_nothing_ever_was(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_KEYS", str(tmp_path / "none"))
    assert renew.main() == 0
    assert store.list("") == []


def test_nothing_is_signed_anew_before_half_of_its_time_is_over(store: FolderStore) -> None:
    sign(store, "targets/a/current.json", b"x")
    before = store.get("tuf/timestamp.json")
    assert renew.main() == 0
    assert store.get("tuf/timestamp.json") == before


def test_a_key_that_is_missing_is_named(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as days_ago:
        days_ago.setattr(
            repository, "expiry", lambda role: datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
        )
        sign(store, "targets/a/current.json", b"x")
    (tmp_path / "root.json").write_bytes((keys().folder / "root.json").read_bytes())
    monkeypatch.setenv("MODNET_KEYS", str(tmp_path))
    assert renew.main() == 3
    assert f"{tmp_path}/targets.pem: no such file, wanted the key that signs targets" in capsys.readouterr().err
