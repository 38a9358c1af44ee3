"""One object store for pipeline and devices: S3 (the only boto3 importer) or a folder on one machine.

Keys are relative paths such as `releases/0123456789ab/manifest.json`. Whole objects are written and read; no reader
ever sees half of one. Python 3.9: this file ships with the edge agent.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mimetypes
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from infra.atomic_file import atomic_file
from infra.errors import (
    ConflictError,
    ContractError,
    DiskFullError,
    InfraError,
    NotStoredError,
    SettingsError,
    StoreUnavailableError,
)

_CHUNK_BYTES = 1 << 20
_LINK_LASTS_S = 7 * 24 * 3600  # the longest that S3 signs for
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A part that starts with a dot is kept for FolderStore's own files and shuts out `.` and `..`.
_KEY_PART = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
_NETWORK_ERRORS = (HTTPClientError, BotoConnectionError, IncompleteReadError, FlexibleChecksumError)
_PASSING_CODES = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"),  # cut or damaged on the way
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectStore(Protocol):
    """What pipeline and devices need of a store; every method may raise StoreUnavailableError.

    An etag names one content of one object; it changes when the content does.
    """

    url: str

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes the object and returns its etag.

        Raises:
            ConflictError: `if_absent` and the key is taken, or the object's etag is not `if_match`.
            DiskFullError: no room.
        """
        ...

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's content.

        Raises:
            NotStoredError: no such key.
            ContractError: the object is larger than `max_bytes`.
        """
        ...

    def get_with_etag(self, key: str, *, max_bytes: int | None = None) -> tuple[bytes, str]:
        """The object's content and the etag to pass as `if_match`; raises what `get` raises."""
        ...

    def exists(self, key: str) -> bool:
        """The key holds an object."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with `prefix`, sorted."""
        ...

    def upload_file(self, key: str, path: Path, *, if_absent: bool = False) -> None:
        """Writes the file's content without reading it into memory; raises what `put` raises."""
        ...

    def download_file(self, key: str, path: Path) -> None:
        """Writes the object to `path`, whole or not at all; parent folders are made.

        Raises:
            NotStoredError: no such key.
            DiskFullError: no room; nothing is left behind.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes the object; a key that is not there is no error."""
        ...

    def link(self, key: str) -> str:
        """An address that opens the object in a browser for a week, without credentials of the reader's own."""
        ...


def open_store(url: str) -> ObjectStore:
    """The store at `s3://bucket[/prefix]` or `file:///folder`.

    Raises:
        SettingsError: another kind of URL, or S3 settings that boto3 refuses.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise SettingsError(f"object store URL {url!r}: wanted no '?' and no '#' in it")
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc):
        return S3Store(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FolderStore(Path(unquote(parts.path)))
    raise SettingsError(f"object store URL {url!r}: wanted s3://bucket[/prefix] or file:///folder")


def check_key(key: str) -> str:
    """The key itself when it is a relative path without empty parts and without parts that start with a dot.

    Raises:
        ContractError: it is not.
    """
    if len(key.encode("utf-8", "replace")) > 1024 or not all(_KEY_PART.fullmatch(part) for part in key.split("/")):
        raise ContractError(
            f"object key {key[:200]!r}: wanted a relative path of at most 1024 bytes, "
            "no part of it empty, starting with a dot, or with backslash or control characters"
        )
    return key


def _check_prefix(prefix: str) -> str:
    """The prefix itself when it is empty or the start of a valid key."""
    if prefix:
        check_key(prefix[:-1] if prefix.endswith("/") else prefix)
    return prefix


def _check_size(where: str, size_bytes: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size_bytes > max_bytes:
        raise ContractError(f"{where}: has {size_bytes} bytes, wanted at most {max_bytes}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _local_errors(what: str) -> Iterator[None]:
    """Says in our words what the file system refused."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(f"{what}: no room to write: {error}") from error
        if isinstance(error, PermissionError):
            raise SettingsError(f"{what}: not permitted: {error}") from error
        raise


class FolderStore:
    """A folder as object store, for one machine and for tests; conditions hold between threads and processes.

    Writers take turns on one lock file, readers need none: an object is replaced by a rename. Not for network file
    systems, whose locks and renames promise less.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.url = self.folder.as_uri()

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes to a neighbour, then renames it; the etag is SHA-256 of the content."""
        with self._writing(key, if_absent=if_absent, if_match=if_match) as partial:
            partial.write(data)
        return _sha256(data)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The file's content."""
        with self._reading(key) as stored:
            _check_size(f"{key} in {self.url}", os.fstat(stored.fileno()).st_size, max_bytes)
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
        start = self.folder / _check_prefix(prefix).rpartition("/")[0]
        found = (Path(parent) / name for parent, _, names in os.walk(start) for name in names if name[0] != ".")
        keys = (path.relative_to(self.folder).as_posix() for path in found)
        return sorted(key for key in keys if key.startswith(prefix))

    def upload_file(self, key: str, path: Path, *, if_absent: bool = False) -> None:
        """Copies the file as `put` does."""
        with open(path, "rb") as source, self._writing(key, if_absent=if_absent) as partial:
            shutil.copyfileobj(source, partial, _CHUNK_BYTES)

    def download_file(self, key: str, path: Path) -> None:
        """Copies the object to a neighbour of `path`, then renames it."""
        with self._reading(key) as stored, _local_errors(str(path)), atomic_file(path) as partial:
            shutil.copyfileobj(stored, partial, _CHUNK_BYTES)

    def delete(self, key: str) -> None:
        """Unlinks the file."""
        path = self._path(key)
        if path.is_file():
            with _local_errors(f"{key} in {self.url}"), self._lock():
                path.unlink(missing_ok=True)

    def link(self, key: str) -> str:
        """The file's address, which only this machine can open."""
        return self._path(key).resolve().as_uri()

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)

    @contextmanager
    def _writing(self, key: str, *, if_absent: bool = False, if_match: str | None = None) -> Iterator[IO[bytes]]:
        path = self._path(key)
        where = f"{key} in {self.url}"
        with _local_errors(where):
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
    def _reading(self, key: str) -> Iterator[IO[bytes]]:
        try:
            stored = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotStoredError(f"{key}: not in {self.url}") from error
        except PermissionError as error:
            raise SettingsError(f"{key} in {self.url}: not permitted: {error}") from error
        with stored:
            yield stored


class S3Store:
    """A bucket, or the part of it under a prefix, on any S3 server with conditional writes.

    Endpoint, region and credentials come from boto3's own variables: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION (us-east-1 when none is given). An object is written by one PUT, which
    S3 limits to 5 GiB. Threads may share a store; processes open one each, by its URL.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = check_key(prefix) + "/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            # Callers retry too; more here would multiply their waiting.
            retries={"total_max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path"},
            signature_version="s3v4",  # boto3 presigns by the old version 2 otherwise, which servers refuse
        )
        try:
            session = boto3.session.Session()
            self._client = session.client("s3", region_name=session.region_name or "us-east-1", config=config)
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"S3 client for {self.url}: check the AWS_* variables: {error}") from error

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """One PUT; the condition travels with it."""
        return self._put(key, data, if_absent=if_absent, if_match=if_match)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """One GET."""
        return self.get_with_etag(key, max_bytes=max_bytes)[0]

    def get_with_etag(self, key: str, *, max_bytes: int | None = None) -> tuple[bytes, str]:
        """One GET; the etag is the server's."""
        with self._reading(key) as answer:
            _check_size(f"{key} in {self.url}", answer["ContentLength"], max_bytes)
            return bytes(answer["Body"].read()), str(answer["ETag"])

    def exists(self, key: str) -> bool:
        """One HEAD."""
        full_key = self._full(key)
        try:
            with self._translated(key):
                self._client.head_object(Bucket=self._bucket, Key=full_key)
        except NotStoredError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """Reads every page of the listing."""
        full_prefix = self._prefix + _check_prefix(prefix)
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=full_prefix)
            return sorted(found["Key"][len(self._prefix) :] for page in pages for found in page.get("Contents", ()))

    def upload_file(self, key: str, path: Path, *, if_absent: bool = False) -> None:
        """One PUT that reads the file as it goes."""
        with open(path, "rb") as source:
            self._put(key, source, if_absent=if_absent, if_match=None)

    def download_file(self, key: str, path: Path) -> None:
        """Streams the object to a neighbour of `path`, then renames it."""
        with self._reading(key) as answer, _local_errors(str(path)), atomic_file(path) as partial:
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                partial.write(chunk)

    def delete(self, key: str) -> None:
        """One DELETE."""
        full_key = self._full(key)
        with self._translated(key):
            self._client.delete_object(Bucket=self._bucket, Key=full_key)

    def link(self, key: str) -> str:
        """A presigned GET; the server is asked to name the type that the key's ending suggests."""
        parameters = {"Bucket": self._bucket, "Key": self._full(key)}
        media_type, _ = mimetypes.guess_type(key)
        if media_type is not None:
            parameters["ResponseContentType"] = media_type
        with self._translated(key):
            return str(self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=_LINK_LASTS_S))

    def _full(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _put(self, key: str, body: bytes | IO[bytes], *, if_absent: bool, if_match: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_match} if if_match is not None else {}
        full_key = self._full(key)
        try:
            with self._translated(key):
                answer = self._client.put_object(Bucket=self._bucket, Key=full_key, Body=body, **condition)
        except NotStoredError as error:  # S3's answer to If-Match when the object is gone
            raise ConflictError(f"{key} in {self.url}: is not what was read, somebody removed it") from error
        return str(answer["ETag"])

    @contextmanager
    def _reading(self, key: str) -> Iterator[dict[str, Any]]:
        full_key = self._full(key)
        with self._translated(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=full_key)
            with closing(answer["Body"]):
                yield answer

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Says in our words what boto3 raises."""
        where = f"{key!r} in {self.url} at {self._client.meta.endpoint_url}"
        try:
            yield
        except ClientError as error:
            raise _meaning(error, where) from error
        except _NETWORK_ERRORS as error:
            raise StoreUnavailableError(f"{where}: {error}") from error
        except BotoCoreError as error:
            raise SettingsError(f"{where}: check the AWS_* variables: {error}") from error


def _meaning(error: ClientError, where: str) -> InfraError:
    """Our error for an answer with an error status."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status >= 500 or status == 429 or code in _PASSING_CODES:
        return StoreUnavailableError(f"{where}: the store answered {status} {code}")
    if code == "NoSuchBucket":
        return SettingsError(f"{where}: the bucket does not exist; make it or correct the store URL")
    if status == 404:
        return NotStoredError(f"{where}: no such key")
    if status in (409, 412):
        return ConflictError(f"{where}: exists already or is not what was read ({status} {code})")
    if status == 403:
        return SettingsError(
            f"{where}: refused ({code}); check which identity AWS_ACCESS_KEY_ID names, what it may do with this "
            "bucket and key, its secret, and the clock of this machine"
        )
    return SettingsError(f"{where}: the store refuses the request: {error}")
