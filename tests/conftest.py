"""Tests report to nobody either: this is imported before any of them imports a dependency."""

from __future__ import annotations

from pathlib import Path

import pytest

import infra  # noqa: F401 - before Prefect is imported, as in every process of the product
from infra.device.stores.folder_store import FolderStore
from tests.signing import keys


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The store that this process's settings name, with keys and a cache beside it: of this test alone."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    return FolderStore(tmp_path / "store")
