"""From a folder to pairs of image and matte: which files belong together, and which split they are in.

The layout is that of PPM-100's archive: `<any folder>/{train,val}/{fg,alpha}/<stem>.<suffix>`; an image and its matte
have the same stem. Beside train there may be `pseudo/{fg,alpha}`: images whose mattes a teacher made.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from modnet.data.download import path_problem
from modnet.data.image_files import IMAGE_SUFFIXES, files_in, is_visible
from modnet.errors import DatasetError

logger = logging.getLogger(__name__)

MATTE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
TUNE_SHARE, TUNE_AT_LEAST = 0.1, 4
PSEUDO = "pseudo"


class Pair(BaseModel, frozen=True, extra="forbid"):
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


class DatasetIndex(BaseModel, frozen=True, extra="forbid"):
    """The pairs of a data set, each part ordered by stem."""

    train: tuple[Pair, ...] = Field(min_length=1)
    val: tuple[Pair, ...] = Field(min_length=1)
    pseudo: tuple[Pair, ...] = ()

    def split(self, name: Literal["fit", "tune", "train", "val"]) -> tuple[Pair, ...]:
        """The pairs of one split.

        `tune` are the 10 % of train (rounded down, at least 4) whose stems have the smallest SHA-256, `fit` the rest:
        the same pairs on every machine, and adding an image moves at most one other. Behind them `fit` has those of
        `pseudo`. Choices read `tune`; `val` is read once, to report.

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
        stems = sorted((pair.stem for pair in self.train), key=lambda stem: hashlib.sha256(stem.encode()).digest())
        tune = set(stems[:tune_count])
        if name == "tune":
            return tuple(pair for pair in self.train if pair.stem in tune)
        return (*(pair for pair in self.train if pair.stem not in tune), *self.pseudo)


def index_dataset(folder: Path) -> DatasetIndex:
    """Pairs images with mattes in the one `…/{train,val}/{fg,alpha}` below `folder`, and in `pseudo` beside them.

    Hidden files and `__MACOSX` are left out; files that are no images are left out and logged.

    Raises:
        DatasetError: no such layout or several; an image without matte or the reverse; two files with one stem; a
            name that no record holds; an empty split. Names the first five of each.
    """
    root = _dataset_root(folder)
    problems: list[str] = []
    train, val = (_pairs(folder, root / split, problems) for split in ("train", "val"))
    pseudo = _pairs(folder, root / PSEUDO, problems) if (root / PSEUDO).is_dir() else ()
    named = {pair.stem for pair in (*train, *val)}
    _report(problems, f"stems of {PSEUDO} that are in train or val", (one.stem for one in pseudo if one.stem in named))
    if problems:
        raise DatasetError(f"data set {root}: {'; '.join(problems)}")
    return DatasetIndex(train=train, val=val, pseudo=pseudo)


def find_images(folder: Path) -> tuple[str, ...]:
    """Paths of the images anywhere below a folder, relative to it, with forward slashes, in order; see `index_dataset`.

    Raises:
        DatasetError: there are none.
    """
    found, others = [], []
    for below in _visible_folders(folder):
        images, left_out = files_in(below)
        found += [path.relative_to(folder).as_posix() for path in images]
        others += left_out
    if others:
        _log_left_out(folder, IMAGE_SUFFIXES, others)
    if not found:
        raise DatasetError(f"folder {folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return tuple(sorted(found))


def _dataset_root(folder: Path) -> Path:
    layout = [f"{split}/{part}" for split in ("train", "val") for part in ("fg", "alpha")]
    roots = [path for path in _visible_folders(folder) if any((path / part).is_dir() for part in layout)]
    if len(roots) != 1:
        found = ", ".join(map(str, roots[:5])) or "none"
        raise DatasetError(f"folder {folder}: wanted one folder with {', '.join(layout)}, got {found}")
    return roots[0]


def _visible_folders(folder: Path) -> Iterator[Path]:
    for path, folders, _ in os.walk(folder):
        folders[:] = sorted(filter(is_visible, folders))
        yield Path(path)


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

    def within(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    both = sorted(images.keys() & mattes.keys())
    unusable = {stem for stem in both if path_problem(within(images[stem])) or _in_utf8(stem) != stem}
    _report(problems, f"names in {name} that are no UTF-8 or hold a backslash", unusable)
    both = [stem for stem in both if stem not in unusable]
    return tuple(Pair(stem=stem, image=within(images[stem]), matte=within(mattes[stem])) for stem in both)


def _in_utf8(name: str) -> str:
    """A file's name as it is, with bytes that are no UTF-8 escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _files_by_stem(folder: Path, suffixes: frozenset[str], problems: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if is_visible(path.name))
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
    if ordered := sorted(map(_in_utf8, stems)):
        problems.append(f"{what}: {len(ordered)} ({', '.join(ordered[:5])}{', …' if len(ordered) > 5 else ''})")
