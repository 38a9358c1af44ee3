"""Looks at every image of a data set before anything learns from it.

The general part: counts, sizes, files that cannot be read, and copies between what is learnt and what is measured.
What is wrong with a label, its workload says (`LabelledData.look`).
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.fingerprints import Fingerprint, copies, fingerprint
from modnet.errors import DatasetError
from modnet.progress import progress_over
from modnet.records import DataFinding, DatasetCheck, SplitSizes
from modnet.records.data_check import BROKEN
from modnet.workload import LabelledData, Split

SPLITS: tuple[Split, ...] = get_args(Split)
SPOILT_SHARE = 0.5  # of a split's labels, from which on a fault of single labels is one of the data set
COPIED_SHARE = 0.1  # of val, from which on its figures speak of what was learnt
EXAMPLES = 5  # of a finding, in words
PICTURED = 24  # images of a page
THUMBNAIL_PX = 160  # longer side


class Place(NamedTuple):
    """An image of a data set."""

    split: Split
    position: int


class Thumbnail(NamedTuple):
    """Small pictures of what was found, for people."""

    kind: str
    caption: str
    pictures: tuple[bytes, ...]  # JPEG


class _Case(NamedTuple):
    """One image that has a fault."""

    got: str
    shows: tuple[Place, ...]


class _Kind(NamedTuple):
    """What is the same for all images that have a fault."""

    name: str
    split: Split
    wanted: str
    error_share: float | None  # of the split, from which on the run stops; None: it never does


def check_folder(open_data: Callable[[Path], LabelledData], folder: Path) -> tuple[DatasetCheck, list[Thumbnail]]:
    """See `check_data`; what is no data set at all, as where an image has no label, is the one error of its check."""
    try:
        data = open_data(folder)
        for split in SPLITS:
            data.names(split)
    except DatasetError as error:
        unusable = DataFinding(
            kind="unusable layout",
            split="",
            images=0,
            of=0,
            is_error=True,
            examples=(str(error),),
            wanted="images and labels that belong together; no image was looked at",
        )
        return DatasetCheck(splits=(), findings=(unusable,)), []
    return check_data(data)


def check_data(data: LabelledData) -> tuple[DatasetCheck, list[Thumbnail]]:
    """What every split holds and what is wrong with it, and pictures of at most `PICTURED` images that have a fault.

    Every image and label is decoded once.
    """
    names = {split: data.names(split) for split in SPLITS}
    sizes: dict[Split, list[tuple[int, int]]] = {split: [] for split in SPLITS}  # width, height
    fingerprints: dict[Split, dict[int, Fingerprint]] = {split: {} for split in SPLITS}  # by position
    found: dict[_Kind, list[_Case]] = {}
    places = [Place(split, position) for split in SPLITS for position in range(len(names[split]))]
    for place in progress_over(places, "looking at the data", "image"):
        split, position = place
        try:
            looked = data.look(split, position)
        except DatasetError as error:
            got = str(error)
            for path in data.files(split, position):  # a record says nothing of this machine's folders
                got = got.replace(str(path), path.name)
            broken = _Kind(BROKEN, split, "images and labels that can be used", 0.0)
            found.setdefault(broken, []).append(_Case(got, (place,)))
            continue
        height, width = looked.image.shape[:2]
        sizes[split].append((width, height))
        fingerprints[split][position] = fingerprint(looked.image)
        for fault in looked.faults:
            kind = _Kind(fault.kind, split, fault.wanted, SPOILT_SHARE if fault.spoils else None)
            found.setdefault(kind, []).append(_Case(f"{names[split][position]}: {fault.got}", (place,)))
    found |= _copied(names, fingerprints)
    findings = {kind: _finding(kind, cases, len(names[kind.split])) for kind, cases in found.items()}
    worst_first = sorted(findings, key=lambda kind: not findings[kind].is_error)
    check = DatasetCheck(
        splits=tuple(_split_sizes(split, len(names[split]), sizes[split]) for split in SPLITS),
        findings=tuple(findings[kind] for kind in worst_first),
    )
    return check, _thumbnails(data, {kind: found[kind] for kind in worst_first})


def _copied(
    names: Mapping[Split, Sequence[str]], fingerprints: Mapping[Split, Mapping[int, Fingerprint]]
) -> dict[_Kind, list[_Case]]:
    """Images of *tune* and *val* that are learnt from or chosen by as well, the most alike first.

    Nobody chooses which pairs *tune* gets of train, so copies there stop no run.
    """
    found = {}
    pairs: tuple[tuple[Split, Split], ...] = (("fit", "tune"), ("fit", "val"), ("tune", "val"))
    for learnt, measured in pairs:
        ours, theirs = fingerprints[measured], fingerprints[learnt]
        cases = []
        for copy in sorted(copies([*ours.values()], [*theirs.values()]), key=lambda one: one.different_bits):
            one, other = [*ours][copy.one], [*theirs][copy.other]
            got = f"{names[measured][one]} is {names[learnt][other]} ({copy.different_bits} of 256 bits differ)"
            cases.append(_Case(got, (Place(measured, one), Place(learnt, other))))
        if cases:
            wanted = f"no image of {measured} among those of {learnt}"
            kind = _Kind(f"copies of images of {learnt}", measured, wanted, COPIED_SHARE if measured == "val" else None)
            found[kind] = cases
    return found


def _finding(kind: _Kind, cases: Sequence[_Case], of: int) -> DataFinding:
    return DataFinding(
        kind=kind.name,
        split=kind.split,
        images=len(cases),
        of=of,
        is_error=kind.error_share is not None and len(cases) >= kind.error_share * of,
        examples=tuple(case.got for case in cases[:EXAMPLES]),
        wanted=kind.wanted,
    )


def _split_sizes(split: Split, images: int, sizes: list[tuple[int, int]]) -> SplitSizes:
    by_pixels = [f"{width} × {height}" for width, height in sorted(sizes, key=prod)] or [""]
    return SplitSizes(
        split=split,
        images=images,
        readable=len(sizes),
        smallest=by_pixels[0],
        median=by_pixels[len(by_pixels) // 2],
        largest=by_pixels[-1],
    )


def _thumbnails(data: LabelledData, found: Mapping[_Kind, Sequence[_Case]]) -> list[Thumbnail]:
    """Of the first cases of each kind; what cannot be read has none."""
    thumbnails = []
    for kind, cases in found.items():
        for case in cases[:EXAMPLES] if kind.name != BROKEN else ():
            looked = [data.look(*place) for place in case.shows]
            pictures = [one.image for one in looked]
            if len(looked) == 1 and looked[0].label is not None:
                pictures.append(looked[0].label)
            heading = f"{kind.name} in {kind.split}"
            thumbnails.append(Thumbnail(heading, case.got, tuple(_jpeg(picture) for picture in pictures)))
            if len(thumbnails) == PICTURED:
                return thumbnails
    return thumbnails


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A small JPEG of a picture, (H, W) or (H, W, 3), RGB."""
    scale = min(1.0, THUMBNAIL_PX / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()
