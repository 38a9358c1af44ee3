"""A folder as object store, for one machine and for tests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from infra.device.documents.file_digest import CHUNK_BYTES, FileDigest, chunks_of
from infra.device.errors import ConflictError, NotStoredError, SettingsError
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors
from infra.device.stores.checks import check_key, check_prefix, check_size


class FolderStore:
    """A folder as object store; conditions hold between threads and processes.

    Writers take turns on one lock file, readers need none: an object is replaced by a rename. Not for network file
    systems, whose locks and renames promise less.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.url = self.address = self.folder.as_uri()

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes to a neighbour, then renames it; the etag is SHA-256 of the content."""
        with self._writing(key, if_absent=if_absent, if_match=if_match) as partial:
            partial.write(data)
        return _sha256(data)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The file's content."""
        with self._reading(key, max_bytes) as stored:
            return stored.read()

    def get_with_etag(self, key: str, *, max_bytes: int | None = None) -> tuple[bytes, str]:
        """The file's content and its SHA-256."""
        data = self.get(key, max_bytes=max_bytes)
        return data, _sha256(data)

    def exists(self, key: str) -> bool:
        """The key is a file."""
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        """Walks the folders below the prefix."""
        start = self.folder / check_prefix(prefix).rpartition("/")[0]
        found = (Path(parent) / name for parent, _, names in os.walk(start) for name in names if name[0] != ".")
        keys = (path.relative_to(self.folder).as_posix() for path in found)
        return sorted(key for key in keys if key.startswith(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Asks the file system for each."""
        return {key: found.st_size for key, found in self._stats(prefix)}

    def written(self, prefix: str) -> dict[str, datetime]:
        """As the file system says it."""
        return {key: datetime.fromtimestamp(found.st_mtime, timezone.utc) for key, found in self._stats(prefix)}

    def folders(self, folder: str) -> tuple[str, ...]:
        """One look into the folder."""
        path = self.folder / check_prefix(folder)
        return tuple(sorted(one.name for one in path.iterdir() if one.is_dir())) if path.is_dir() else ()

    def upload_file(self, key: str, path: Path) -> None:
        """Copies the file as `put` does."""
        with open(path, "rb") as source, self._writing(key) as partial:
            shutil.copyfileobj(source, partial, CHUNK_BYTES)

    def download_file(self, key: str, path: Path, *, max_bytes: int | None = None) -> None:
        """Copies the object to a neighbour of `path`, then renames it."""
        with self._reading(key, max_bytes) as stored, local_errors(str(path)), atomic_file(path) as partial:
            shutil.copyfileobj(stored, partial, CHUNK_BYTES)

    def digest(self, key: str, *, max_bytes: int | None = None) -> FileDigest:
        """Reads the file."""
        with self._reading(key, max_bytes) as stored:
            return FileDigest.of_chunks(chunks_of(stored))

    def copy(self, source: str, key: str, digest: FileDigest, *, if_absent: bool = False) -> None:
        """Copies and hashes the file in one pass; the copy has no name until it is known to be right."""
        with self._reading(source, digest.size_bytes) as stored, self._writing(key, if_absent=if_absent) as partial:
            digest.check(f"{source} in {self.url}", FileDigest.of_chunks(_written(stored, partial)))

    def delete(self, key: str) -> None:
        """Unlinks the file."""
        path = self._path(key)
        if path.is_file():
            with local_errors(f"{key} in {self.url}"), self._lock():
                path.unlink(missing_ok=True)

    def link(self, key: str) -> str:
        """The file's address, which only this machine can open."""
        return self._path(key).resolve().as_uri()

    def _stats(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        for key in self.list(prefix):
            with suppress(FileNotFoundError):  # somebody has removed it meanwhile
                yield key, self._path(key).stat()

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)

    @contextmanager
    def _writing(self, key: str, *, if_absent: bool = False, if_match: str | None = None) -> Iterator[IO[bytes]]:
        path = self._path(key)
        where = f"{key} in {self.url}"
        with local_errors(where):
            try:
                with atomic_file(path, gate=self._condition(path, where, if_absent, if_match)) as partial:
                    yield partial
            except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
                raise ConflictError(f"{where}: a folder cannot hold both a key and keys below it") from error

    @contextmanager
    def _condition(self, path: Path, where: str, if_absent: bool, if_match: str | None) -> Iterator[None]:
        """Holds the lock when the condition is met; without the lock two writers could both find it met."""
        with self._lock():
            if if_absent and path.exists():
                raise ConflictError(f"{where}: exists already, wanted to be the first to write it")
            if if_match is not None and (not path.exists() or _sha256(path.read_bytes()) != if_match):
                raise ConflictError(f"{where}: is not what was read, somebody else wrote or removed it")
            yield

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with open(self.folder / ".lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _reading(self, key: str, max_bytes: int | None) -> Iterator[IO[bytes]]:
        try:
            stored = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotStoredError(f"{key}: not in {self.url}") from error
        except PermissionError as error:
            raise SettingsError(f"{key} in {self.url}: not permitted: {error}") from error
        with stored:
            check_size(f"{key} in {self.url}", os.fstat(stored.fileno()).st_size, max_bytes)
            yield stored


def _written(source: IO[bytes], target: IO[bytes]) -> Iterator[bytes]:
    """Every chunk of the source, as soon as the target has it."""
    for chunk in chunks_of(source):
        target.write(chunk)
        yield chunk


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
