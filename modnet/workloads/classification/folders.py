"""From a folder to labelled images: which file is of which class, and which split it is in.

The layout is `<any folder>/train/<class>/<image>` and `val/` or `test/` beside train, likewise.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from modnet.data.download import path_problem
from modnet.data.image_files import IMAGE_SUFFIXES, files_in, is_visible
from modnet.errors import DatasetError
from modnet.workload import Split

logger = logging.getLogger(__name__)

TUNE_SHARE = 0.1  # of each class of train
MEASURED = ("val", "test")  # folders that may hold what `val` reports, the first that is there


class Labelled(NamedTuple):
    """One image: its path relative to the data set's folder, with forward slashes, and the number of its class."""

    path: str
    label: int

    @property
    def name(self) -> str:
        """`cat/0001.jpg`."""
        return "/".join(self.path.rsplit("/", 2)[-2:])


class ClassIndex(NamedTuple):
    """The classes of a data set in the order of their names, and the images of each split."""

    classes: tuple[str, ...]
    splits: dict[Split, tuple[Labelled, ...]]


def index_classes(folder: Path) -> ClassIndex:
    """The images of the one `…/train/<class>/` below `folder`, and of `val` or `test` beside it.

    `tune` are the 10 % of each class of train (rounded down, at least 1) whose names have the smallest SHA-256, `fit`
    is the rest: the same images on every machine. Every split is in the order of that digest, so that any number of its
    first images is of all classes. Hidden files are left out; files that are no images are left out and logged.

    Raises:
        DatasetError: no such layout or several; fewer than two classes; a class folder without images, or in train
            with only one; a class that train lacks; images outside of class folders; a name that no record holds.
    """
    root, measured = _root(folder)
    problems: list[str] = []
    train, val = (_by_class(folder, root / split, problems) for split in ("train", measured))
    if len(train) < 2:
        found = f"{len(train)} class folders ({', '.join(train)})" if train else "no class folder"
        problems.append(f"train has {found}, wanted at least 2")
    _report(problems, f"classes in {measured} that train lacks", val.keys() - train.keys())
    few = [name for name, paths in train.items() if len(paths) == 1]
    _report(problems, "classes with 1 image in train, wanted at least 2 (1 to tune and 1 to fit)", few)
    if not val:
        problems.append(f"{measured} has no class folder")
    if problems:
        raise DatasetError(f"data set {root}: {'; '.join(problems)}")
    classes = tuple(train)
    splits: dict[Split, list[Labelled]] = {"fit": [], "tune": [], "val": []}
    for label, name in enumerate(classes):
        of_class = _in_order(Labelled(path, label) for path in train[name])
        count = max(1, int(TUNE_SHARE * len(of_class)))
        splits["tune"] += of_class[:count]
        splits["fit"] += of_class[count:]
        splits["val"] += [Labelled(path, label) for path in val.get(name, ())]
    return ClassIndex(classes, {split: tuple(_in_order(images)) for split, images in splits.items()})


def _root(folder: Path) -> tuple[Path, str]:
    """The folder that holds train, and the name of what is measured on."""
    roots = [
        path
        for path in _folders(folder)
        if (path / "train").is_dir() and any((path / one).is_dir() for one in MEASURED)
    ]
    if len(roots) != 1:
        found = ", ".join(map(str, roots[:5])) or "none"
        wanted = "train/<class>/ and val/<class>/ or test/<class>/"
        raise DatasetError(f"folder {folder}: wanted one folder with {wanted}, got {found}")
    there = [one for one in MEASURED if (roots[0] / one).is_dir()]
    if len(there) > 1:
        logger.warning("data set %s has %s; only %s is measured on", roots[0], " and ".join(there), there[0])
    return roots[0], there[0]


def _folders(folder: Path) -> Iterator[Path]:
    for path, folders, _ in os.walk(folder):
        folders[:] = sorted(filter(is_visible, folders))
        yield Path(path)


def _by_class(folder: Path, split: Path, problems: list[str]) -> dict[str, list[str]]:
    """Paths by class, both in order; appends what is wrong to `problems`."""
    outside, _ = files_in(split)
    _report(problems, f"images in {split.name} outside of a class folder", (path.name for path in outside))
    classes: dict[str, list[str]] = {}
    for below in sorted(path for path in split.iterdir() if path.is_dir() and is_visible(path.name)):
        images, others = files_in(below)
        if others:
            kinds = sorted(IMAGE_SUFFIXES)
            logger.warning("left out %d files in %s that are no %s: %s", len(others), below, kinds, others[0].name)
        classes[below.name] = [path.relative_to(folder).as_posix() for path in images]
    _report(
        problems, f"classes without an image in {split.name}", (name for name, paths in classes.items() if not paths)
    )
    unusable = (path for paths in classes.values() for path in paths if path_problem(path) or _in_utf8(path) != path)
    _report(problems, f"names in {split.name} that are no UTF-8 or hold a backslash", unusable)
    return classes


def _in_order(images: Iterable[Labelled]) -> list[Labelled]:
    return sorted(images, key=lambda one: hashlib.sha256(one.name.encode()).digest())


def _in_utf8(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _report(problems: list[str], what: str, names: Iterable[str]) -> None:
    if ordered := sorted(map(_in_utf8, names)):
        problems.append(f"{what}: {len(ordered)} ({', '.join(ordered[:5])}{', …' if len(ordered) > 5 else ''})")
