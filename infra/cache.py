"""The folder of downloaded and unpacked files (MODNET_CACHE): who uses an entry holds it, and what is old or much goes.

An entry is a folder or file directly below one of FOLDERS. Its time of change is when it was last used. A process that
uses one holds a shared lock on it for as long as it lives, and the system lets go of it however the process ends. An
entry is removed under an exclusive lock, so never while it is held, and is renamed first: half of it has no name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

FOLDERS = ("archives", "datasets", "objects", "exports", "trainings/*")
MAX_BYTES = 32 << 30  # or half the disk, where that is less
MAX_AGE = timedelta(days=14)
_NEW = timedelta(days=1)  # what was used since then stays: it may be on its way here, and be held by nobody yet
_GONE = ".gone-"
_MARK = ".bounded"
_held: dict[Path, int] = {}


def hold(entry: Path) -> bool:
    """Keeps an entry as long as this process lives; False where there is none, or it has just been removed."""
    try:
        descriptor = os.open(entry, os.O_RDONLY)
    except FileNotFoundError:
        return False
    with suppress(OSError):  # a file system without locks: nothing there is ever unheld, and nothing goes
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if not _is_at(descriptor, entry):
        os.close(descriptor)
        return False
    with suppress(PermissionError):  # somebody else's
        os.utime(entry)
    if (before := _held.pop(entry, None)) is not None:
        os.close(before)
    _held[entry] = descriptor
    return True


def held_folder(entry: Path) -> Path:
    """A folder of the cache, made where it is missing, and held."""
    entry.mkdir(parents=True, exist_ok=True)
    while not hold(entry):
        entry.mkdir(parents=True, exist_ok=True)
    return entry


def hold_around(cache: Path, path: Path) -> None:
    """Keeps the entry that a folder is or lies in; one outside of the cache is left as it is."""
    cache, path = cache.resolve(), path.resolve()
    if path.is_relative_to(cache) and len(parts := path.relative_to(cache).parts) > 1:
        hold(cache.joinpath(*parts[:2]))


def bound(
    cache: Path, *, max_age: timedelta = MAX_AGE, max_bytes: int | None = None, remove: bool = True
) -> list[Path]:
    """Removes what is older, then what was used longest ago until the rest is small enough; returns what went.

    Args:
        cache: the folder of MODNET_CACHE.
        max_age: since an entry was last used.
        max_bytes: of all entries; by default MAX_BYTES, or half the disk.
        remove: whether it really goes.
    """
    entries = sorted(_entries(cache), key=lambda one: one[0])
    left = sum(size for _, size, _ in entries)
    if max_bytes is None:
        max_bytes = min(MAX_BYTES, shutil.disk_usage(cache).total // 2) if cache.is_dir() else MAX_BYTES
    gone, now = [], time.time()
    for used, size, entry in entries:
        age_s = now - used
        if age_s < _NEW.total_seconds() or (age_s < max_age.total_seconds() and left <= max_bytes):
            continue
        with _unheld(entry) as is_unheld:
            if is_unheld and entry.stat().st_mtime == used:  # not used since, by a process that has ended already
                gone.append(entry)
                left -= size
                if remove:
                    _remove(entry)
    return gone


def bound_daily(cache: Path) -> list[Path]:
    """Does as `bound` where nobody has for a day, and nothing else: cheap enough for every use of the cache."""
    mark = cache / _MARK
    with suppress(FileNotFoundError):
        if time.time() - mark.stat().st_mtime < _NEW.total_seconds():
            return []
    cache.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return bound(cache)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if not path.is_dir():
        return path.stat().st_size
    found = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                found += os.lstat(os.path.join(folder, name)).st_size
    return found


def _entries(cache: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was last used, its size, and where it is; what a killed removal has left is removed."""
    for folder in FOLDERS:
        for entry in cache.glob(f"{folder}/*"):
            with suppress(FileNotFoundError):
                if entry.name.startswith(_GONE):
                    _remove(entry)
                else:
                    yield entry.stat().st_mtime, size_of(entry), entry


@contextmanager
def _unheld(entry: Path) -> Iterator[bool]:
    """Whether nobody holds an entry; while the block runs, nobody can."""
    try:
        descriptor = os.open(entry, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield _is_at(descriptor, entry)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _remove(entry: Path) -> None:
    gone = entry if entry.name.startswith(_GONE) else entry.with_name(f"{_GONE}{entry.name}")
    if gone != entry:
        entry.rename(gone)
    if gone.is_dir():
        shutil.rmtree(gone, ignore_errors=True)
    else:
        gone.unlink(missing_ok=True)
