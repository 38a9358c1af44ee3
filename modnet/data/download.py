"""Downloads a data set's archive: resumed, limited, verified, and put in place only when complete."""

import fcntl
import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from pydantic import BaseModel, ValidationError

from modnet.errors import DatasetError, DownloadError
from modnet.progress import Progress
from modnet.shown_url import shown_url

logger = logging.getLogger(__name__)

# PPM-100 (Ke et al., AAAI 2022) as repacked by PaddleSeg; its mattes are CC BY-NC-SA 4.0: not for commercial use.
PRESETS = {"ppm-100": "https://paddleseg.bj.bcebos.com/matting/datasets/PPM-100.zip"}

MAX_BYTES = 20 * 2**30  # a larger download is refused or broken off
TIMEOUT_S = 60.0  # longest silence of the server
_CHUNK_BYTES = 2**18


class _Origin(BaseModel):
    """Which download is here, written beside it so that only the same file is resumed. The URL may hold credentials."""

    url_sha256: str
    validator: str | None  # for If-Range: a strong ETag or a Last-Modified date


class _CannotResumeError(Exception):
    """What the server sends does not continue what is here."""


def fetch_archive(source: str, folder: Path, *, sha256: str | None = None) -> Path:
    """The local, verified zip behind a preset's name, an HTTP(S) URL, a `file://` URL or a path.

    A local file is checked and left where it is. A download grows in `<name>.part` in `folder`, made when missing. A
    later call resumes it when the server still has the same file (If-Range); complete, it takes its name. A completed
    download of the same URL, or of the wanted digest, is used again. One process at a time fetches a file of one name;
    others wait for it. Without a digest in hex the zip is only known to be a zip.

    Raises:
        DownloadError: cut connection, timeout, 5xx or "too many requests": what came is kept, another try resumes.
        DatasetError: another HTTP error, too large, wrong digest or not a zip (the download is then removed), or the
            folder cannot be written.
    """
    source = PRESETS.get(source, source)
    if not source.startswith(("http://", "https://")):
        archive = _local_path(source)
        _verify(archive, sha256)
        return archive
    archive = folder / _file_name(source)
    with writing_into(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with archive.with_name(archive.name + ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_fetched(source, archive, sha256):
                _download(source, archive)
            try:
                _verify(archive, sha256)
            except DatasetError:
                archive.unlink()
                raise
    return archive


def _local_path(source: str) -> Path:
    scheme, separator, rest = source.partition("://")
    if not separator:
        return Path(source)
    if scheme != "file":
        raise DatasetError(f"archive {source.partition('?')[0]!r}: wanted a path or a URL of http, https or file")
    return Path(url2pathname(rest))


def _verify(archive: Path, sha256: str | None) -> None:
    if not archive.is_file():
        presets = ", ".join(PRESETS)
        raise DatasetError(f"archive {archive}: no such file; it is not one of the presets ({presets}) either")
    if sha256 is not None and (got := sha256_of_file(archive)) != sha256.lower():
        raise DatasetError(f"archive {archive}: wanted SHA-256 {sha256.lower()}, got {got}")
    if not zipfile.is_zipfile(archive):
        raise DatasetError(f"archive {archive} ({archive.stat().st_size} bytes): not a zip file, or cut off")


def _is_fetched(url: str, archive: Path, sha256: str | None) -> bool:
    if not archive.is_file():
        return False
    if sha256 is not None:
        return sha256_of_file(archive) == sha256.lower()
    # With a .part beside it, the archive is older than the note about the origin.
    return _read_origin(archive, url) is not None and not _part_of(archive).exists()


def _download(url: str, archive: Path) -> None:
    part, origin = _part_of(archive), _read_origin(archive, url)
    start = part.stat().st_size if part.is_file() and origin and origin.validator else 0
    try:
        _stream(url, archive, start, origin if start else None)
    except _CannotResumeError as reason:
        logger.info("download %s: starting over, %s", shown_url(url), reason)
        _stream(url, archive, 0, None)
    os.replace(part, archive)


def _stream(url: str, archive: Path, start: int, origin: _Origin | None) -> None:
    """Brings `<name>.part` to its full length, from `start` on when an origin is given that the server confirms."""
    headers = {"User-Agent": "modnet-edge", "Accept-Encoding": "identity"}
    if origin is not None and origin.validator is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin.validator}
    part = _part_of(archive)
    with _opened(url, headers) as response:
        sent = _Origin(url_sha256=hashlib.sha256(url.encode()).hexdigest(), validator=_validator(response))
        total: int | None
        if response.status == 206:
            if sent != origin:
                raise _CannotResumeError(f"the file changed from {origin} to {sent}")
            total = _total_of_range(response, start)
        else:  # the server ignores ranges, or the file changed
            length = response.headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else None
        if total is not None and total > MAX_BYTES:
            raise DatasetError(f"download {shown_url(url)}: {total} bytes, at most {MAX_BYTES} are allowed")
        with part.open("ab" if start else "wb") as file:
            _origin_file(archive).write_text(sent.model_dump_json())
            received = _copy(response, file, url, start, total)
    if received > MAX_BYTES:
        _forget_part(archive)
        raise DatasetError(f"download {shown_url(url)}: more than the allowed {MAX_BYTES} bytes")
    if (size := part.stat().st_size) != received:  # where the lock does not hold, as on some network drives
        _forget_part(archive)
        got = f"got {received} bytes, but {part} has {size}; another process wrote"
        raise DownloadError(f"download {shown_url(url)}: {got}")
    if total is not None and received != total:
        raise DownloadError(f"download {shown_url(url)}: cut after {received} of {total} bytes; another try resumes")


def _forget_part(archive: Path) -> None:
    """Removes what came, the note first: alone beside an older archive it would pass that off as this download."""
    _origin_file(archive).unlink()
    _part_of(archive).unlink()


def _copy(response: http.client.HTTPResponse, file: IO[bytes], url: str, start: int, total: int | None) -> int:
    """Appends the response to the file until it ends or exceeds the limit; the bytes there are then."""
    received = start
    with Progress(f"download {shown_url(url)}", total, "B", done=start) as progress:
        while received <= MAX_BYTES:
            try:
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise DownloadError(f"download {shown_url(url)}: cut after {received} bytes: {error!r}") from error
            if not chunk:
                break
            file.write(chunk)
            received += len(chunk)
            progress.advance(len(chunk))
    return received


def _opened(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and "Range" in headers:
            raise _CannotResumeError("the server has fewer bytes than are here") from error
        passing = error.code >= 500 or error.code in (408, 425, 429)
        kind = DownloadError if passing else DatasetError
        raise kind(f"download {shown_url(url)}: the server answers {error.code} {error.reason}") from error
    except (http.client.InvalidURL, ValueError):
        raise DatasetError(f"download {shown_url(url)}: not a usable URL") from None  # the cause may quote a password
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"download {shown_url(url)}: no answer: {error}") from error
    response: http.client.HTTPResponse = answer
    return response


def _total_of_range(response: http.client.HTTPResponse, start: int) -> int:
    """Bytes of the whole file, from `Content-Range: bytes <first>-<last>/<total>`."""
    header = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", header.strip())
    if not match or int(match[1]) != start or int(match[2]) + 1 != int(match[3]):
        raise _CannotResumeError(f"wanted Content-Range 'bytes {start}-<last>/<last + 1>', got {header!r}")
    return int(match[3])


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What If-Range may carry (RFC 9110, 13.1.5): a strong ETag, or else the time of the last change."""
    etag: str | None = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _read_origin(archive: Path, url: str) -> _Origin | None:
    """The note about the origin, if it is about this URL."""
    try:
        origin = _Origin.model_validate_json(_origin_file(archive).read_bytes())
    except (FileNotFoundError, ValidationError):  # a damaged note: as if there were none, so start over
        return None
    return origin if origin.url_sha256 == hashlib.sha256(url.encode()).hexdigest() else None


def _part_of(archive: Path) -> Path:
    return archive.with_name(archive.name + ".part")


def _origin_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".origin.json")


def _file_name(url: str) -> str:
    try:
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    except ValueError as error:  # an IPv6 address without its bracket
        raise DatasetError(f"download: not a usable URL: {error}") from error
    if problem := path_problem(name):
        raise DatasetError(f"download {shown_url(url)}: its file name {name!r} {problem}")
    return name


def sha256_of_file(path: Path) -> str:
    """The digest of a file's content, in hex.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"archive {path} cannot be read: {error.strerror}") from error


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Turns "disk full", "not permitted" and their like into a DatasetError that names the folder."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"cannot write into folder {folder}: {error}") from error


def path_problem(name: str) -> str | None:
    """Why a relative path from outside must not be used below a folder of ours; None when it may."""
    if not name.strip("/."):
        return "names no file"
    if "\\" in name or "\0" in name:
        return "has a backslash or NUL in its name"
    if name.startswith("/") or name[1:2] == ":":
        return "has an absolute path"
    return "points outside by '..'" if ".." in name.split("/") else None
