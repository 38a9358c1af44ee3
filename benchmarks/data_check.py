"""How often the check of a data set is wrong, and how many images a second it looks at.

python -m benchmarks.data_check portraits.zip

Mattes: those of the data set, and cut to head and shoulders, chest and half the body, as they are and inverted. Copies:
the photographs of val, changed, against themselves as they were, and the people of val before one colour against those
of fit and tune before the same. Where a data set has no faults, all that is found in its mattes as they are, and
between its splits, is a false alarm. One core is used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from modnet.data.fingerprints import Fingerprint, copies, fingerprint
from modnet.data.images import Image, read_image
from modnet.evaluation.data_check import SPLITS, Place, check_data
from modnet.workloads.matting.data.images import Matte16, read_matte16
from modnet.workloads.matting.matte_faults import ONE, faults_of
from modnet.workloads.matting.portraits import Portraits
from tasks.cli.given import given_folder
from tasks.tables import markdown_table

CUTS = {"head and shoulders": (0.2, 0.3), "chest": (0.35, 0.1), "half the body": (0.5, 0.05)}
"""Shares of a person's height that are left, and of that what stands above the head."""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", help="portraits with mattes: a zip, a folder or a URL")
    data = Portraits(given_folder(parser.parse_args().dataset))
    cv2.setNumThreads(1)
    began = time.process_time()
    check, _ = check_data(data)
    images = sum(one.images for one in check.splits)
    print(f"{check.summary}; {images / (time.process_time() - began):.0f} images a second of CPU time")
    print(*(one.sentence for one in check.findings), sep="\n")
    print(markdown_table(matte_rows(data)))
    print(markdown_table(copy_rows(data)))


def matte_rows(data: Portraits) -> list[dict[str, str]]:
    """One row per cut: how many mattes look inverted as they are, and inverted."""
    mattes = [read_matte16(data.files(*place)[1]) for place in _places(data)]
    cut = {"whole": mattes} | {name: [_cut(one, *how) for one in mattes] for name, how in CUTS.items()}
    return [
        {
            "mattes": name,
            "count": str(len(ones)),
            "look inverted as they are": str(sum(map(_looks_inverted, ones))),
            "inverted, look so": f"{np.mean([_looks_inverted(ONE - one) for one in ones]):.3f}",
        }
        for name, ones in cut.items()
    ]


def copy_rows(data: Portraits) -> list[dict[str, str]]:
    """One row per change of val: which share is found to be the same, and which the same as another image."""
    places = list(_places(data))
    measured = [number for number, (split, _) in enumerate(places) if split == "val"]
    learnt = [number for number, (split, _) in enumerate(places) if split != "val"]
    rows = []
    for name, prepare in {"as they are": _as_it_is, "before white": _before(255), "before grey": _before(128)}.items():
        prepared = [prepare(*data.files(*place)) for place in places]
        prints = [fingerprint(one) for one in prepared]
        val, others = [prints[number] for number in measured], [prints[number] for number in learnt]
        cells = {"photographs": name, "val among the others": f"{len(copies(val, others))} of {len(val)}"}
        for title, change in CHANGES.items():
            cells[title] = _share_found([fingerprint(change(prepared[number])) for number in measured], val)
        rows.append(cells)
    return rows


def _share_found(changed: Sequence[Fingerprint], originals: Sequence[Fingerprint]) -> str:
    found = sum(one.one == one.other for one in copies(changed, originals))
    return f"{found / len(originals):.2f}"


def _shrunk(scale: float, quality: int) -> Callable[[Image], Image]:
    def change(image: Image) -> Image:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)

    return change


def _without_margin(share: float) -> Callable[[Image], Image]:
    def change(image: Image) -> Image:
        down, right = (round(share * side) for side in image.shape[:2])
        return image[down : image.shape[0] - down, right : image.shape[1] - right]

    return change


CHANGES: dict[str, Callable[[Image], Image]] = {
    "half the size, JPEG 60": _shrunk(0.5, 60),
    "a quarter, JPEG 40": _shrunk(0.25, 40),
    "1.2 times as bright": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
    "gamma 0.7": lambda image: np.rint(255 * (image / 255) ** 0.7).astype(np.uint8),
    "2 % cut off all round": _without_margin(0.02),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
}


def _as_it_is(image: Path, _: Path) -> Image:
    return read_image(image)


def _before(grey: int) -> Callable[[Path, Path], Image]:
    """The person before one grey."""

    def composed(image: Path, matte: Path) -> Image:
        alpha = (read_matte16(matte) / np.float32(ONE))[..., None]
        return np.rint(read_image(image) * alpha + grey * (1 - alpha)).astype(np.uint8)

    return composed


def _places(data: Portraits) -> Iterator[Place]:
    return (Place(split, position) for split in SPLITS for position in range(len(data.names(split))))


def _looks_inverted(matte: Matte16) -> bool:
    return any(fault.kind == "mattes that look inverted" for fault in faults_of(matte))


def _cut(matte: Matte16, share: float, above: float) -> Matte16:
    """The upper part of the person."""
    rows, columns = np.nonzero(matte > ONE / 2)
    top, height = int(rows.min()), max(8, int(share * (rows.max() - rows.min())))
    middle = int(np.median(columns[rows < top + height]))
    half = max(8, int(0.4 * height))
    return matte[max(0, top - int(above * height)) : top + height, max(0, middle - half) : middle + half]


if __name__ == "__main__":
    main()
