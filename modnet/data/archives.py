"""From a zip to pairs of image and matte: unpack, index, split.

The layout is that of PPM-100's archive: `<any folder>/{train,val}/{fg,alpha}/<stem>.<suffix>`; an image and its matte
have the same stem. An archive is taken as cut off, huge or hostile until checked.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from modnet.data.download import PRESETS, fetch_archive, path_problem, sha256_of_file, writing_into
from modnet.errors import DatasetError
from modnet.progress import progress_over
from modnet.workloads.matting.data.other_formats import OTHER_SUFFIXES

__all__ = [
    "PRESETS",
    "DatasetIndex",
    "Pair",
    "extract_archive",
    "fetch_archive",
    "find_images",
    "images_in",
    "index_dataset",
    "others_in",
]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp"}) | OTHER_SUFFIXES
MATTE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
TUNE_SHARE, TUNE_AT_LEAST = 0.1, 4

_CHUNK_BYTES = 2**18


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pair(_Record):
    """One image and its matte; both paths are relative to the data set's folder, with forward slashes."""

    stem: str = Field(min_length=1)
    image: str
    matte: str

    @field_validator("image", "matte")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if problem := path_problem(path):
            raise ValueError(f"{path!r} {problem}")
        return path


class DatasetIndex(_Record):
    """The pairs of a data set, each split ordered by stem."""

    train: tuple[Pair, ...] = Field(min_length=1)
    val: tuple[Pair, ...] = Field(min_length=1)

    def split(self, name: Literal["fit", "tune", "train", "val"]) -> tuple[Pair, ...]:
        """The pairs of one split, ordered by stem.

        `tune` are the 10 % of train (rounded down, at least 4) whose stems have the smallest SHA-256, `fit` the rest:
        the same pairs on every machine, and adding an image moves at most one other. Choices read `tune`; `val` is
        read once, to report.

        Raises:
            DatasetError: train is too small to be divided.
        """
        if name == "train":
            return self.train
        if name == "val":
            return self.val
        tune_count = max(TUNE_AT_LEAST, int(TUNE_SHARE * len(self.train)))
        if tune_count >= len(self.train):
            raise DatasetError(
                f"split {name!r}: train has {len(self.train)} pairs, wanted at least {TUNE_AT_LEAST + 1} "
                f"({TUNE_AT_LEAST} to tune and 1 to fit)"
            )
        tune = set(sorted((pair.stem for pair in self.train), key=_sha256_of_stem)[:tune_count])
        return tuple(pair for pair in self.train if (pair.stem in tune) == (name == "tune"))

    def to_json(self) -> str:
        """Compact JSON that `from_json` reads back to an equal index."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads an index.

        Raises:
            DatasetError: not JSON, or not an index; names the offending fields.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'index'}: {e['msg']}" for e in error.errors()[:5])
            raise DatasetError(f"not a data set index: {problems}") from error


def _sha256_of_stem(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()


def extract_archive(
    archive: Path, folder: Path, *, max_bytes: int = 100 * 2**30, max_files: int = 1_000_000, max_ratio: float = 200.0
) -> Path:
    """The unpacked archive: a folder below `folder`, named by the first 12 hex digits of the archive's SHA-256.

    It appears whole or not at all, so when it is there it is used again; another archive gets another folder.

    Args:
        max_bytes: most bytes that the entries together may unpack to.
        max_files: most entries.
        max_ratio: most bytes unpacked per byte of the archive.

    Raises:
        DatasetError: not a zip, cut off or damaged; an entry that is encrypted, a link or device, doubled, has
            an absolute path, `..` or a wrong size; more than the limits; no room. Says which entry and why.
    """
    target = folder / sha256_of_file(archive)[:12]
    if target.is_dir():
        return target
    with _opened_zip(archive) as opened, writing_into(folder):
        entries = opened.infolist()
        _check_entries(archive, entries, max_files)
        folder.mkdir(parents=True, exist_ok=True)
        _check_sizes(archive, entries, max_bytes, max_ratio, free_bytes=shutil.disk_usage(folder).free)
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


@contextmanager
def _opened_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:  # ValueError: undecodable names
        raise DatasetError(f"archive {archive}: not a zip file, or cut off: {error}") from error
    with opened:
        yield opened


def _check_entries(archive: Path, entries: list[zipfile.ZipInfo], max_files: int) -> None:
    if len(entries) > max_files:
        raise DatasetError(f"archive {archive}: {len(entries)} entries, at most {max_files} are allowed")
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


def _check_sizes(
    archive: Path, entries: list[zipfile.ZipInfo], max_bytes: int, max_ratio: float, free_bytes: int
) -> None:
    """Judges by declared sizes; `_extract_entry` refuses entries that are not what they declare."""
    total, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if total <= min(max_bytes, free_bytes, max_ratio * packed):
        return
    largest = max(entries, key=lambda entry: entry.file_size)
    raise DatasetError(
        f"archive {archive} ({packed} bytes) unpacks to {total} bytes, most of it entry {largest.orig_filename!r} with "
        f"{largest.file_size}; allowed are {max_bytes} bytes and {max_ratio:g} times its size, free are {free_bytes}"
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


def index_dataset(folder: Path) -> DatasetIndex:
    """Pairs images with mattes in the one `…/{train,val}/{fg,alpha}` below `folder`.

    Hidden files and `__MACOSX` are left out; files that are no images are left out and logged.

    Raises:
        DatasetError: no such layout or several; an image without matte or the reverse; two files with one stem; an
            empty split. Names the first five of each.
    """
    root = _dataset_root(folder)
    problems: list[str] = []
    train, val = (_pairs(folder, root / split, problems) for split in ("train", "val"))
    if problems:
        raise DatasetError(f"data set {root}: {'; '.join(problems)}")
    return DatasetIndex(train=train, val=val)


def find_images(folder: Path) -> tuple[str, ...]:
    """Paths of the images anywhere below a folder, relative to it, with forward slashes, in order.

    Hidden files and `__MACOSX` are left out; files that are no images are left out and logged.

    Raises:
        DatasetError: there are none.
    """
    found, others = [], []
    for below in map(Path, _visible_folders(folder)):
        found += [path.relative_to(folder).as_posix() for path in images_in(below)]
        others += others_in(below)
    if others:
        _log_left_out(folder, IMAGE_SUFFIXES, others)
    if not found:
        raise DatasetError(f"folder {folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return tuple(sorted(found))


def images_in(folder: Path) -> list[Path]:
    """The images in a folder itself, by their suffixes, in order; hidden files are left out."""
    return [path for path in _files_in(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def others_in(folder: Path) -> list[Path]:
    """The files in a folder itself that are no images, in order; hidden files are left out."""
    return [path for path in _files_in(folder) if path.suffix.lower() not in IMAGE_SUFFIXES]


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_visible(path.name) and path.is_file())


def _dataset_root(folder: Path) -> Path:
    layout = [Path(split, part) for split in ("train", "val") for part in ("fg", "alpha")]
    roots: list[Path] = []
    for path in _visible_folders(folder):
        if any(Path(path, part).is_dir() for part in layout):
            roots.append(Path(path))
    if len(roots) != 1:
        found = ", ".join(map(str, roots[:5])) or "none"
        raise DatasetError(
            f"folder {folder}: wanted one folder with train/fg, train/alpha, val/fg, val/alpha, got {found}"
        )
    return roots[0]


def _visible_folders(folder: Path) -> Iterator[str]:
    for path, folders, _ in os.walk(folder):
        folders[:] = sorted(filter(_is_visible, folders))
        yield path


def _pairs(folder: Path, split: Path, problems: list[str]) -> tuple[Pair, ...]:
    """The pairs of one split, ordered by stem; appends what is wrong to `problems`."""
    images = _files_by_stem(split / "fg", IMAGE_SUFFIXES, problems)
    mattes = _files_by_stem(split / "alpha", MATTE_SUFFIXES, problems)
    name = split.name
    if not images or not mattes:
        problems.append(f"{name} is empty: {len(images)} images in {name}/fg, {len(mattes)} mattes in {name}/alpha")
    elif images.keys() != mattes.keys():
        _report(problems, f"images without matte in {name}", images.keys() - mattes.keys())
        _report(problems, f"mattes without image in {name}", mattes.keys() - images.keys())
    return tuple(
        Pair(
            stem=stem,
            image=images[stem].relative_to(folder).as_posix(),
            matte=mattes[stem].relative_to(folder).as_posix(),
        )
        for stem in sorted(images.keys() & mattes.keys())
    )


def _files_by_stem(folder: Path, suffixes: frozenset[str], problems: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if _is_visible(path.name))
    usable = [path for path in files if path.suffix.lower() in suffixes and path.is_file()]
    if len(usable) < len(files):
        _log_left_out(folder, suffixes, sorted(set(files) - set(usable)))
    counts = Counter(path.stem for path in usable)
    where = f"{folder.parent.name}/{folder.name}"
    _report(problems, f"stems of several files in {where}", (stem for stem in counts if counts[stem] > 1))
    return {path.stem: path for path in usable}


def _log_left_out(folder: Path, suffixes: frozenset[str], files: Sequence[Path]) -> None:
    names = [path.relative_to(folder).as_posix() for path in files[:5]]
    logger.warning("left out %d files in %s that are no %s: %s", len(files), folder, sorted(suffixes), names)


def _report(problems: list[str], what: str, stems: Iterable[str]) -> None:
    """Appends "what: N (the first five)" when there are any."""
    if ordered := sorted(stems):
        problems.append(f"{what}: {len(ordered)} ({', '.join(ordered[:5])}{', …' if len(ordered) > 5 else ''})")


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
