"""From files to files: the matte of every picture or frame, at its original size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modnet.data.headers import opened_picture, read_bytes
from modnet.data.image_files import IMAGE_SUFFIXES, files_in
from modnet.data.images import read_image, upright, write_png
from modnet.data.pixel_limit import pixel_limit
from modnet.errors import DatasetError
from modnet.progress import progress_over
from modnet.workloads.matting.data.images import Alpha, checked_alpha
from modnet.workloads.matting.predict.results import Render

if TYPE_CHECKING:  # with pydantic, which one image need not wait for
    from modnet.workloads.matting.evaluate import Predictor

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


def is_video(path: Path) -> bool:
    """By its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class ImageResults:
    """What became of an image, or of those of a folder."""

    written: tuple[Path, ...]  # the results, in order of the sources' names
    unreadable: dict[str, str]  # names of the images that could not be read, with the reason
    # names of the folder's other files, hidden ones aside, which by their suffix are no images
    left_out: tuple[str, ...]


def infer_images(
    predictor: Predictor, source: Path, out: Path, render: Render, *, ending: str = ".png", overwrite: bool = False
) -> ImageResults:
    """Draws one image, or every image of a folder, into `<out>/<stem><ending>`.

    Images of one stem, as IMG.JPG and IMG.HEIC, become `<out>/IMG.JPG.png` and `<out>/IMG.HEIC.png`. One image is in
    memory at a time. Each file appears whole or not at all; those written before an error stay. In a folder, an image
    that cannot be read ends nothing: it is named in the log, and in the results.

    Args:
        source: an image, or a folder whose own images are read in order of their names, hidden files left out.
        out: made when missing.
        overwrite: results of an earlier run may be replaced.

    Raises:
        DatasetError: no image, or none that can be read; two that would be written into one file, or one that would be
            written over; a result that is there already, or cannot be written; the predictor gives what is no alpha.
    """
    images, others = files_in(source) if source.is_dir() else ([source], [])
    left_out = tuple(path.name for path in others)
    if not images:
        more = f"; other files: {len(left_out)} ({', '.join(left_out[:5])})" if left_out else ""
        raise DatasetError(f"{source} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}){more}")
    results = _results(images, out, ending)
    refuse_overwriting(images, results, overwrite=overwrite)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    unreadable: dict[str, str] = {}
    for image_path, result in zip(progress_over(images, "inference", "image"), results, strict=True):
        try:
            image = read_image(image_path)
            alpha = predictor(image)  # which refuses slivers
            opacity = within_opacity(np.ones(image.shape[:2], np.float32), image_path)
        except DatasetError as error:
            if not source.is_dir():
                raise
            logger.warning("left out: %s", error)
            unreadable[image_path.name] = str(error)
            continue
        write_png(result, render(image, checked_alpha(alpha, image, str(image_path)) * opacity))
        written.append(result)
    if not written:
        first = next(iter(unreadable.values()))
        raise DatasetError(f"none of the {len(images)} images of {source} can be read; the first: {first}")
    return ImageResults(tuple(written), unreadable, left_out)


def _results(images: Sequence[Path], out: Path, ending: str) -> list[Path]:
    stems = Counter(path.stem for path in images)
    results = [out / f"{path.stem if stems[path.stem] == 1 else path.name}{ending}" for path in images]
    if doubled := [result.name for result, count in Counter(results).items() if count > 1]:
        names = ", ".join(doubled[:5])
        raise DatasetError(f"images of {images[0].parent} would overwrite each other as {names}: rename them")
    return results


def refuse_overwriting(sources: Sequence[Path], results: Sequence[Path], *, overwrite: bool) -> None:
    """Refuses results that are among their sources, and those that are there already unless they may be replaced.

    Raises:
        DatasetError: one is; names it.
    """
    taken = {path.resolve() for path in sources}
    for result in results:
        if result.resolve() in taken:
            raise DatasetError(f"{result} is one of the sources and would be written over: choose another folder")
    there = [] if overwrite else [result for result in results if result.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise DatasetError(f"{there[0]}{more} is there already: choose another place, or replace it with --overwrite")


def within_opacity(alpha: Alpha, path: Path) -> Alpha:
    """`alpha`, float32 (H, W) in [0, 1], upright, times the opacity that the image in `path` has there.

    What is transparent stays so: the colours behind it are nobody's, or what somebody has cut away.

    Raises:
        DatasetError: the file cannot be read, is cut off or damaged; names it.
    """
    limit = pixel_limit()
    with opened_picture(read_bytes(path, limit), path, limit) as opened:
        if not opened.has_transparency_data or opened.mode.startswith("I"):  # 16 bits of grey: one shade at most
            return alpha
        opacity = np.asarray(upright(opened).convert("RGBA").getchannel("A"), np.float32)
    return alpha * (opacity / np.float32(255))
