"""One object store for pipeline and devices: what it can do, and how it is opened by its URL.

Keys are relative paths such as `releases/0123456789ab/manifest.json`. Whole objects are written and read; no reader
ever sees half of one.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from infra.device.documents.file_digest import FileDigest
from infra.device.errors import SettingsError
from infra.device.stores.folder_store import FolderStore

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectStore(Protocol):
    """What pipeline and devices need of a store; every method may raise StoreUnavailableError.

    An etag names one content of one object; it changes when the content does.

    Attributes:
        url: what `open_store` opens it by.
        address: tells it from other stores, also where the same URL leads to another server.
    """

    url: str
    address: str

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes the object and returns its etag.

        Raises:
            ConflictError: `if_absent` and the key is taken, or the object's etag is not `if_match`.
            DiskFullError: no room.
        """

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's content.

        Raises:
            NotStoredError: no such key.
            ContractError: the object is larger than `max_bytes`.
        """

    def get_with_etag(self, key: str, *, max_bytes: int | None = None) -> tuple[bytes, str]:
        """The object's content and the etag to pass as `if_match`; raises what `get` raises."""

    def exists(self, key: str) -> bool:
        """The key holds an object."""

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with `prefix`, sorted."""

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of every object whose key starts with `prefix`, by key."""

    def written(self, prefix: str) -> dict[str, datetime]:
        """When every object whose key starts with `prefix` was last written (UTC, the store's clock), by key."""

    def folders(self, folder: str) -> tuple[str, ...]:
        """Names directly below `folder`, which ends with a slash, that have keys below them, sorted."""

    def upload_file(self, key: str, path: Path) -> None:
        """Writes the file's content without reading it into memory; raises what `put` raises."""

    def download_file(self, key: str, path: Path, *, max_bytes: int | None = None) -> None:
        """Writes the object to `path`, whole or not at all; parent folders are made.

        Raises:
            NotStoredError: no such key.
            ContractError: the object is larger than `max_bytes`.
            DiskFullError: no room; nothing is left behind.
        """

    def digest(self, key: str, *, max_bytes: int | None = None) -> FileDigest:
        """What the object's bytes are; raises what `get` raises.

        Nothing is read where the store keeps the SHA-256 that it compared when the object was written.
        """

    def copy(self, source: str, key: str, digest: FileDigest, *, if_absent: bool = False) -> None:
        """Writes the content of one object under another key, within the store, when it is what `digest` says.

        Raises:
            NotStoredError: there is no `source`.
            DigestMismatchError: its bytes are others; nothing is written.
            ContractError: it is larger than `digest` says; nothing is written.
            ConflictError: `if_absent` and the key is taken, or somebody wrote over the source meanwhile.
            DiskFullError: no room.
        """

    def delete(self, key: str) -> None:
        """Removes the object; a key that is not there is no error."""

    def link(self, key: str) -> str:
        """An address that opens the object in a browser for a week, without credentials of the reader's own."""


def open_store(url: str) -> ObjectStore:
    """The store at `s3://bucket[/prefix]` or `file:///folder`.

    Raises:
        SettingsError: another kind of URL, S3 settings that boto3 refuses, or no boto3.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:  # half of a bracketed address
        raise SettingsError(f"object store URL {url!r}: wanted s3://bucket[/prefix] or file:///folder") from error
    if parts.query or parts.fragment:
        raise SettingsError(f"object store URL {url!r}: wanted no '?' and no '#' in it")
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc):
        try:
            from infra.device.stores.s3_store import S3Store  # importing boto3 takes long, and a folder does without it
        except ModuleNotFoundError as error:
            raise SettingsError(f"object store URL {url!r}: needs boto3, install it with pip: {error}") from error
        return S3Store(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FolderStore(Path(unquote(parts.path)))
    raise SettingsError(f"object store URL {url!r}: wanted s3://bucket[/prefix] or file:///folder")
