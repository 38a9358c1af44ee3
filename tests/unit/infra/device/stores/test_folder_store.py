"""What only this store does; what all stores share is in tests/integration/test_object_store_contract.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.device.errors import ConflictError, DiskFullError, NotStoredError
from infra.device.stores.folder_store import FolderStore


def test_folder_store_leaves_no_partial_file_when_a_condition_fails(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/b", b"1")
    for _ in range(2):
        with pytest.raises(ConflictError):
            store.put("a/b", b"2", if_absent=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_folder_store_refuses_a_key_below_another_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(ConflictError, match="below"):
        store.put("a/b", b"2")
    with pytest.raises(NotStoredError):
        store.get("a/b")


def test_folder_store_put_keeps_the_old_object_when_there_is_no_room(tmp_path: Path, little_room: None) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"old")
    with pytest.raises(DiskFullError, match="a in file:"):
        store.put("a", bytes(100_000))
    assert store.get("a") == b"old"
    assert store.list("") == ["a"]
