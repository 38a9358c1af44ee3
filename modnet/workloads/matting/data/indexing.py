"""From a folder to pairs of image and matte: which files belong together, and which split they are in.

The layout is that of PPM-100's archive: `<any folder>/{train,val}/{fg,alpha}/<stem>.<suffix>`; an image and its matte
have the same stem.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from modnet.data.download import path_problem
from modnet.errors import DatasetError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".avif", ".gif", ".heic", ".heif", ".hif"}
) | {".tif", ".tiff"}
MATTE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
TUNE_SHARE, TUNE_AT_LEAST = 0.1, 4


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
