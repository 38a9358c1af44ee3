"""An S3 bucket as object store: the only boto3 importer."""

from __future__ import annotations

import base64
import mimetypes
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from infra.device.documents.file_digest import CHUNK_BYTES, FileDigest, chunks_of
from infra.device.errors import (
    ClockError,
    ConflictError,
    DamagedAnswerError,
    InfraError,
    NotStoredError,
    SettingsError,
    StoreRefusesError,
    StoreUnavailableError,
)
from infra.device.files.atomic_file import atomic_file
from infra.device.files.local_errors import local_errors
from infra.device.stores.checks import check_key, check_prefix, check_size

_SHA256_CHARACTERS = 44  # in base64
_CLIENT_LASTS_S = 300
_LINK_LASTS_S = 7 * 24 * 3600  # the longest that S3 signs for
_NETWORK_ERRORS = (HTTPClientError, BotoConnectionError, IncompleteReadError)
_NOT_THE_STORE = "what answers is not the store: a portal that wants a login, a proxy, or another server"
_PASSING_CODES = {
    *("ConditionalRequestConflict", "OperationAborted"),  # 409: somebody else is writing, nobody has written yet
    *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"),  # cut or damaged on the way
}


_locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)  # by process: a fork may inherit a held one


def _shared_client() -> Any:
    """The client of this process's environment.

    It takes 12 MB, and a tenth of a second to make; threads may share it, and processes not. It is made anew every few
    minutes, as keys in a file may have changed.
    """
    environ = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    process = os.getpid()
    with _locks[process]:
        return _client(environ, process, int(time.monotonic() // _CLIENT_LASTS_S))


@lru_cache(maxsize=2)
def _client(environ: tuple[tuple[str, str], ...], _process: int, _since: int) -> Any:
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=50,
        # Callers retry too; more here would multiply their waiting.
        retries={"total_max_attempts": 3, "mode": "standard"},
        s3={"addressing_style": "path"},
        signature_version="s3v4",  # boto3 presigns by the old version 2 otherwise, which servers refuse
    )
    core = botocore.session.get_session()
    # Parsing when objects were written takes most of the time of a long listing, and only `written` asks.
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    session = boto3.session.Session(botocore_session=core)
    region = session.region_name or dict(environ).get("AWS_REGION") or "us-east-1"
    return session.client("s3", region_name=region, config=config)


class S3Store:
    """A bucket, or the part of it under a prefix, on any S3 server with conditional writes.

    Endpoint, region and credentials come from boto3's own variables: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, and AWS_REGION, which boto3 alone of Amazon's clients does not read
    (us-east-1 when none is given). An object is written by one PUT, which S3 limits to 5 GiB. Threads may share a
    store; processes open one each, by its URL.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = check_key(prefix) + "/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        try:
            self._client = _shared_client()
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"S3 client for {self.url}: check the AWS_* variables: {error}") from error
        self.address = f"{self.url} at {self._client.meta.endpoint_url}"

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """One PUT; the condition travels with it."""
        return self._put(key, data, if_absent=if_absent, if_match=if_match)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """One GET."""
        return self.get_with_etag(key, max_bytes=max_bytes)[0]

    def get_with_etag(self, key: str, *, max_bytes: int | None = None) -> tuple[bytes, str]:
        """One GET; the etag is the server's."""
        with self._reading(key, max_bytes) as (chunks, etag):
            return b"".join(chunks), etag

    def exists(self, key: str) -> bool:
        """One HEAD."""
        try:
            self._asked("head_object", key)
        except NotStoredError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        """Reads every page of the listing."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """What a listing says of each object."""
        found = self._listed(prefix, "Contents")
        return {one["Key"][len(self._prefix) :]: one["Size"] for one in found}

    def written(self, prefix: str) -> dict[str, datetime]:
        """What a listing says of each object: UTC as `2026-11-30T06:30:00.000Z`, read in whole seconds."""
        found = self._listed(prefix, "Contents")
        return {
            one["Key"][len(self._prefix) :]: datetime.fromisoformat(one["LastModified"][:19]).replace(
                tzinfo=timezone.utc
            )
            for one in found
        }

    def folders(self, folder: str) -> tuple[str, ...]:
        """One listing up to the next slash."""
        found = self._listed(folder, "CommonPrefixes", Delimiter="/")
        return tuple(sorted(one["Prefix"][len(self._prefix + folder) : -1] for one in found))

    def upload_file(self, key: str, path: Path) -> None:
        """One PUT that reads the file as it goes."""
        with open(path, "rb") as source:
            self._put(key, source)

    def download_file(self, key: str, path: Path, *, max_bytes: int | None = None) -> None:
        """Streams the object to a neighbour of `path`, then renames it."""
        with self._reading(key, max_bytes) as (chunks, _), local_errors(str(path)), atomic_file(path) as partial:
            partial.writelines(chunks)

    def digest(self, key: str, *, max_bytes: int | None = None) -> FileDigest:
        """One HEAD; a GET where the server keeps no SHA-256 of the object."""
        digest, _ = self._digest_with_etag(key, max_bytes)
        return digest

    def copy(self, source: str, key: str, digest: FileDigest, *, if_absent: bool = False) -> None:
        """What `digest` does, then one CopyObject of the very object that was looked at."""
        found, etag = self._digest_with_etag(source, digest.size_bytes)
        digest.check(f"{source} in {self.url}", found)
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        copied_from = {"Bucket": self._bucket, "Key": self._full(source)}
        self._asked("copy_object", key, CopySource=copied_from, CopySourceIfMatch=etag, **condition)

    def delete(self, key: str) -> None:
        """One DELETE."""
        with self._translated(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._full(key))

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

    def _put(self, key: str, body: bytes | IO[bytes], *, if_absent: bool = False, if_match: str | None = None) -> str:
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_match} if if_match is not None else {}
        try:
            answer = self._asked("put_object", key, Body=body, ChecksumSHA256=_checksum(body), **condition)
        except NotStoredError as error:  # S3's answer to If-Match when the object is gone
            raise ConflictError(f"{key} in {self.url}: is not what was read, somebody removed it") from error
        return str(answer["ETag"])

    def _listed(self, prefix: str, what: str, **parameters: str) -> Iterator[dict[str, Any]]:
        full_prefix = self._prefix + check_prefix(prefix)
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=full_prefix, **parameters
            )
            for page in pages:
                yield from page.get(what, ())

    def _digest_with_etag(self, key: str, max_bytes: int | None) -> tuple[FileDigest, str]:
        answer = self._asked("head_object", key, ChecksumMode="ENABLED")
        kept = answer.get("ChecksumSHA256", "")
        if len(kept) == _SHA256_CHARACTERS:  # of a multipart upload it is one of the parts' digests, and longer
            check_size(f"{key} in {self.url}", answer["ContentLength"], max_bytes)
            return FileDigest(base64.b64decode(kept).hex(), answer["ContentLength"]), str(answer["ETag"])
        with self._reading(key, max_bytes) as (chunks, etag):
            return FileDigest.of_chunks(chunks), etag

    def _asked(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one request about an object, which a success names by its etag."""
        with self._translated(key) as where:
            answer: dict[str, Any] = getattr(self._client, operation)(
                Bucket=self._bucket, Key=self._full(key), **parameters
            )
            _check_etag(answer.get("CopyObjectResult", answer), where)
        return answer

    @contextmanager
    def _reading(self, key: str, max_bytes: int | None) -> Iterator[tuple[Iterator[bytes], str]]:
        """Body and etag of an object; a page in its place is refused."""
        with self._translated(key) as where:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._full(key))
            with closing(answer["Body"]):
                _check_etag(answer, where)
                if answer.get("ContentType", "").startswith("text/html") and not key.endswith(".html"):
                    raise StoreUnavailableError(f"{where}: {_NOT_THE_STORE} (it answers 200 with a page, text/html)")
                yield self._chunks(key, answer, max_bytes), str(answer["ETag"])

    def _chunks(self, key: str, answer: dict[str, Any], max_bytes: int | None) -> Iterator[bytes]:
        """The body as it comes, refused as soon as it is too long; its length need not be declared."""
        where, read_bytes = f"{key} in {self.url}", 0
        check_size(where, answer.get("ContentLength", 0), max_bytes)
        for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
            read_bytes += len(chunk)
            check_size(where, read_bytes, max_bytes)
            yield chunk

    @contextmanager
    def _translated(self, key: str) -> Iterator[str]:
        """Says in our words what boto3 raises; gives the words for where it was raised."""
        where = f"{key!r} in {self.address}"
        try:
            yield where
        except ClientError as error:
            raise _meaning(error, where) from error
        except FlexibleChecksumError as error:
            raise DamagedAnswerError(f"{where}: {error}") from error
        except _NETWORK_ERRORS as error:
            raise StoreUnavailableError(f"{where}: {error}") from error
        except ResponseParserError as error:
            raise StoreUnavailableError(f"{where}: {_NOT_THE_STORE}: {error}") from error
        except BotoCoreError as error:
            raise SettingsError(f"{where}: check the AWS_* variables: {error}") from error


def _checksum(body: bytes | IO[bytes]) -> str:
    """SHA-256 of what is uploaded, as S3 writes it; the server compares it, and keeps it for `S3Store.digest`.

    It goes into a header. Where boto3 computes one, it goes behind the content over HTTPS, both cut into chunks, and
    servers that do not know that form store it as the content.
    """
    if isinstance(body, bytes):
        digest = FileDigest.of_chunks([body])
    else:
        digest = FileDigest.of_chunks(chunks_of(body))
        body.seek(0)
    return base64.b64encode(bytes.fromhex(digest.sha256)).decode()


def _check_etag(answer: dict[str, Any], where: str) -> None:
    """Refuses a success without the etag that S3 gives to each of its objects."""
    if "ETag" not in answer:
        raise StoreUnavailableError(f"{where}: {_NOT_THE_STORE} (it answers 200 without an ETag)")


def _meaning(error: ClientError, where: str) -> InfraError:
    """Our error for an answer with an error status."""
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status >= 500 or status == 429 or code in _PASSING_CODES:
        return StoreUnavailableError(f"{where}: the store answered {status} {code}")
    if code == "RequestTimeTooSkewed":
        there = metadata.get("HTTPHeaders", {}).get("date", "unknown")
        here = datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return ClockError(f"{where}: the clock of this machine is wrong: {here} here, {there} in the store")
    if code == "NoSuchBucket":
        return StoreRefusesError(f"{where}: the bucket does not exist; make it or correct the store URL")
    # S3 names every error in XML; an answer to HEAD has no body to do it in.
    if code == str(status) and error.operation_name != "HeadObject":
        return StoreUnavailableError(f"{where}: {_NOT_THE_STORE} ({status} without an error code of S3)")
    if status == 404:
        return NotStoredError(f"{where}: no such key")
    if status in (409, 412):
        return ConflictError(f"{where}: exists already or is not what was read ({status} {code})")
    if status == 403:
        return StoreRefusesError(
            f"{where}: refused ({code}); check which identity AWS_ACCESS_KEY_ID names, what it may do with this "
            "bucket and key, its secret, AWS_SESSION_TOKEN if one is left over, and the clock of this machine"
        )
    return StoreRefusesError(f"{where}: the store refuses the request: {error}")
