"""Unpacks a zip, which is taken as cut off, huge or hostile until checked."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from modnet.data.download import path_problem, sha256_of_file, writing_into
from modnet.errors import DatasetError
from modnet.progress import progress_over

MAX_BYTES = 100 * 2**30  # that the entries together may unpack to
MAX_FILES = 1_000_000
MAX_RATIO = 200.0  # of bytes unpacked by those of the archive
_CHUNK_BYTES = 2**18


def extract_archive(archive: Path, folder: Path) -> Path:
    """The unpacked archive: a folder below `folder`, named by the first 12 hex digits of the archive's SHA-256.

    It appears whole or not at all, so when it is there it is used again; another archive gets another folder.

    Raises:
        DatasetError: not a zip, cut off or damaged; an entry that is encrypted, a link or device, doubled, has an
            absolute path, `..` or a wrong size; more than the limits; no room. Says which entry and why.
    """
    target = folder / sha256_of_file(archive)[:12]
    if target.is_dir():
        return target
    with _open_zip(archive) as opened, writing_into(folder):
        entries = opened.infolist()
        _check_entries(archive, entries)
        folder.mkdir(parents=True, exist_ok=True)
        _check_sizes(archive, entries, free_bytes=shutil.disk_usage(folder).free)
        with tempfile.TemporaryDirectory(prefix=".extract-", dir=folder) as temporary:
            content = Path(temporary, "content")
            content.mkdir()
            for entry in progress_over(entries, f"unpacking {archive.name}", "file"):
                _extract_entry(archive, opened, entry, content)
            try:
                content.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise another process was faster, with the same content
                    raise
    return target


def _open_zip(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:  # ValueError: undecodable names
        raise DatasetError(f"archive {archive}: not a zip file, or cut off: {error}") from error


def _check_entries(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_FILES:
        raise DatasetError(f"archive {archive}: {len(entries)} entries, at most {MAX_FILES} are allowed")
    seen: set[PurePosixPath] = set()
    for entry in entries:
        problem = _entry_problem(entry) or ("appears twice" if PurePosixPath(entry.filename) in seen else None)
        if problem:
            raise DatasetError(f"archive {archive}: entry {entry.orig_filename!r} {problem}")
        seen.add(PurePosixPath(entry.filename))


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    # Since Python 3.12 `filename`, below which the entry is written, may come from another field than the name shown.
    if problem := path_problem(entry.orig_filename) or path_problem(entry.filename):
        return problem
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"has compression method {entry.compress_type}, wanted stored (0) or deflated (8)"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if kind == stat.S_IFLNK else "is a device, pipe or socket"
    return None


def _check_sizes(archive: Path, entries: list[zipfile.ZipInfo], free_bytes: int) -> None:
    """Judges by declared sizes; `_extract_entry` refuses entries that are not what they declare."""
    total, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if total <= min(MAX_BYTES, free_bytes, MAX_RATIO * packed):
        return
    largest = max(entries, key=lambda entry: entry.file_size)
    raise DatasetError(
        f"archive {archive} ({packed} bytes) unpacks to {total} bytes, most of it entry {largest.orig_filename!r} with "
        f"{largest.file_size}; allowed are {MAX_BYTES} bytes and {MAX_RATIO:g} times its size, free are {free_bytes}"
    )


def _extract_entry(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    path = folder / entry.filename
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # zipfile stops at the declared size and compares the checksum, so no entry can grow beyond it.
        with opened.open(entry) as packed, path.open("xb") as file:
            shutil.copyfileobj(packed, file, _CHUNK_BYTES)
            size = file.tell()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise DatasetError(f"archive {archive}: entry {entry.filename!r} is damaged or cut off: {error}") from error
    if size != entry.file_size:
        raise DatasetError(f"archive {archive}: entry {entry.filename!r} declares {entry.file_size} bytes, has {size}")
