"""A store that notes which keys are read."""

from __future__ import annotations

from typing import Any

from infra.device.stores.folder_store import FolderStore


class CountingStore:
    def __init__(self, store: FolderStore, fails_after: int | None = None) -> None:
        self._store, self._fails_after = store, fails_after
        self.read: list[str] = []

    def get(self, key: str, **how: Any) -> bytes:
        self.read.append(key)
        if self._fails_after is not None and len(self.read) > self._fails_after:
            raise TimeoutError
        return self._store.get(key, **how)

    def get_with_etag(self, key: str, **how: Any) -> tuple[bytes, str]:
        self.read.append(key)
        return self._store.get_with_etag(key, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
