"""A data set with more images, whose mattes a teacher made: pseudo-labels.

Of Lee (2013), and with a student that sees images changed at random, Xie et al. (2020, arXiv 1911.04252).

A teacher may be several networks. Each sees an image and its mirror, at the size that suits it best, and the matte is
their mean. Doubt is how far they are from it. Where they disagree much, the image is left out. All of it is done once:
a training takes no more steps of the teacher, and its crops and colours change as those of true mattes do.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modnet.data.images import Image, read_image, write_png
from modnet.errors import ConfigError, DatasetError
from modnet.files import write_atomically
from modnet.progress import progress_over
from modnet.workloads.matting.data.copies import require_no_copies
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.data.indexing import PSEUDO, find_images, index_dataset
from modnet.workloads.matting.evaluate import Predictor

RECORD = "pseudo-labels.jsonl"
"""What was asked, and then a line for every image that is done: its name and the doubt, null where it is unreadable."""


@dataclass(frozen=True)
class PseudoLabels:
    """What became of the images: `kept` got a matte, `doubtful` were left out for their doubt."""

    kept: int
    doubtful: int
    unreadable: tuple[str, ...]  # names of those that could not be read
    doubt: float  # mean of all that could


def pseudo_label(
    teachers: Mapping[str, Predictor], labelled: Path, images: Path, out: Path, *, max_doubt: float
) -> PseudoLabels:
    """Copies a data set to `out` and adds images with the teacher's mattes, as a part that *fit* alone has.

    A second call goes on where the first was killed.

    Args:
        teachers: one network or more, by what identifies them.
        labelled: folder of the data set; its other splits stay as they are.
        images: folder of images without mattes.
        max_doubt: images of more are left out.

    Raises:
        DatasetError: no images, copies of images of *tune* or *val* among them, or none that the teacher is sure of;
            or the data set has such a part already.
        ConfigError: `out` was made of another question.
    """
    index, names = index_dataset(labelled), find_images(images)
    if index.pseudo:
        raise DatasetError(
            f"{labelled} holds {len(index.pseudo)} images with a teacher's mattes already: start from the data set "
            "without them"
        )
    scored = (*index.split("tune"), *index.split("val"))
    require_no_copies([images / name for name in names], [labelled / pair.image for pair in scored])
    question = {
        "teachers": sorted(teachers),
        "labelled": _digest(pair.stem for pair in (*index.train, *index.val)),
        "images": _digest(names),
        "max_doubt": max_doubt,
    }
    doubts = _begun(out, question)
    for split, pairs in (("train", index.train), ("val", index.val)):
        for pair in pairs:
            _copy(labelled / pair.image, out / split / "fg" / Path(pair.image).name)
            _copy(labelled / pair.matte, out / split / "alpha" / Path(pair.matte).name)
    for number, name in enumerate(progress_over(names, "making mattes", "image")):
        if name in doubts:
            continue
        try:
            matte, doubt = taught(tuple(teachers.values()), read_image(images / name))
        except DatasetError:
            doubt = None
        if doubt is not None and doubt <= max_doubt:
            _copy(images / name, out / PSEUDO / "fg" / f"pseudo-{number:05d}{Path(name).suffix}")
            path = out / PSEUDO / "alpha" / f"pseudo-{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, np.rint(matte * 255).astype(np.uint8))
        doubts[name] = doubt
        with (out / RECORD).open("a") as record:
            record.write(json.dumps([name, doubt]) + "\n")
    if all(doubt is None for doubt in doubts.values()):
        raise DatasetError(f"none of the {len(names)} images of {images} can be read, the first is {names[0]}")
    known = [doubt for doubt in doubts.values() if doubt is not None]
    kept = sum(doubt <= max_doubt for doubt in known)
    if not kept:
        raise DatasetError(f"{images}: no image has a doubt of at most {max_doubt:g}, the least is {min(known):.3f}")
    unreadable = tuple(name for name, doubt in doubts.items() if doubt is None)
    return PseudoLabels(kept, len(known) - kept, unreadable, float(np.mean(known)))


def taught(teachers: Sequence[Predictor], image: Image) -> tuple[Alpha, float]:
    """The mean of what the teachers make of an image and its mirror, and the mean distance from it, in [0, 1]."""
    mirrored = np.ascontiguousarray(image[:, ::-1])
    return doubt_of([matte for teacher in teachers for matte in (teacher(image), teacher(mirrored)[:, ::-1])])


def doubt_of(mattes: Sequence[Alpha]) -> tuple[Alpha, float]:
    """The mean of several mattes of an image, and their mean distance from it, in [0, 1]."""
    mean: Alpha = np.mean(mattes, axis=0, dtype=np.float32)
    return mean, float(np.mean([np.abs(matte - mean).mean() for matte in mattes]))


def _begun(out: Path, question: dict[str, object]) -> dict[str, float | None]:
    """What an earlier call of the same question has done; begins otherwise."""
    record = out / RECORD
    if not record.exists():
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} is not empty and holds no {RECORD}: choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(record, f"{json.dumps(question)}\n".encode())
        return {}
    first, *lines = record.read_bytes().splitlines(keepends=True)
    found = json.loads(first)
    if other := [name for name in question if found.get(name) != question[name]]:
        raise ConfigError(f"{out} was made with other {', '.join(other)}: choose another folder, or remove it")
    whole = [line for line in lines if line.endswith(b"\n")]  # a killed call may have cut the last
    write_atomically(record, first + b"".join(whole))
    return dict(json.loads(line) for line in whole)


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("/".join(names).encode()).hexdigest()[:12]


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, source.read_bytes())
