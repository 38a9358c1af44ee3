"""Stores in which somebody else is faster, or which are gone after some writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.device.documents.file_digest import FileDigest
from infra.device.errors import StoreUnavailableError
from infra.device.stores.folder_store import FolderStore


class RacedStore(FolderStore):
    """A store in which something happens just before the timestamp is written for the first time."""

    def __init__(self, folder: Path, happens: Callable[[], object]) -> None:
        super().__init__(folder)
        self._happens: Callable[[], object] | None = happens

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if key == "tuf/timestamp.json" and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


class KilledStore(FolderStore):
    """A store that is gone after this many writes."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self._left = writes

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._left == 0:
            raise StoreUnavailableError("killed")
        yield
        self._left -= 1

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._counted():
            return super().put(key, data, if_absent=if_absent, if_match=if_match)

    def copy(self, source: str, key: str, digest: FileDigest, *, if_absent: bool = False) -> None:
        with self._counted():
            super().copy(source, key, digest, if_absent=if_absent)

    def delete(self, key: str) -> None:
        with self._counted():
            super().delete(key)
