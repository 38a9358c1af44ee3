"""From files to files: the matte of every picture or frame, at its original size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from modnet.configs import ResultKind
from modnet.data.archives import IMAGE_SUFFIXES, images_in
from modnet.data.images import read_image, write_png
from modnet.errors import DatasetError
from modnet.evaluation.evaluate import Predictor, predict
from modnet.inference.results import Render
from modnet.inference.transparency import within_opacity
from modnet.inference.video import VIDEO_SUFFIXES, VideoFrames, video_writer
from modnet.progress import progress_over

_NAMED = 6


def is_video(path: Path) -> bool:
    """By its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def infer_images(
    predictor: Predictor, source: Path, out: Path, render: Render, *, overwrite: bool = False
) -> list[Path]:
    """Draws one image, or every image of a folder, into `<out>/<stem>.png`; returns those files.

    One image is in memory at a time. Each file appears whole or not at all; those written before an error stay.

    Args:
        predictor: what makes the mattes.
        source: an image, or a folder whose own images are read in order of their names, hidden files left out.
        out: made when missing.
        render: what is drawn.
        overwrite: results of an earlier run may be replaced.

    Raises:
        DatasetError: no image, two that would be written into one file, or one that would be written over; a result
            that is there already; an image that cannot be read, by name, or written; the predictor gives what is no
            alpha.
    """
    images = images_in(source) if source.is_dir() else [source]
    if not images:
        raise DatasetError(f"{source} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    written = [out / f"{path.stem}.png" for path in images]
    _refuse_equal_names(source, images)
    _refuse_overwriting(images, written, overwrite=overwrite)
    out.mkdir(parents=True, exist_ok=True)
    for image_path, result_path in zip(progress_over(images, "inference", "image"), written, strict=True):
        image = read_image(image_path)
        alpha = predict(predictor, image, str(image_path))
        write_png(result_path, render(image, within_opacity(alpha, image_path)))
    return written


def infer_video(
    predictor: Predictor, source: Path, out: Path, render: Render, kind: ResultKind, *, overwrite: bool = False
) -> Path:
    """Draws every frame of a video; returns what was written.

    That is a video `<out>/<stem>.mp4` of the source's frame rate, without sound; see `video_writer`. Videos of that
    kind have no transparency: a `foreground` becomes a folder `<out>/<stem>/` of numbered PNGs. Either appears when all
    frames are done, or not at all.

    Args:
        predictor: what makes the mattes; every frame is one image to it.
        source: the video.
        out: made when missing.
        render: what is drawn.
        kind: what `render` draws.
        overwrite: a video of an earlier run may be replaced; a folder of pictures never is.

    Raises:
        DatasetError: the video cannot be read or is cut off, or the result cannot be written or is there already; the
            predictor gives what is no alpha.
    """
    frames = VideoFrames(source)
    progress = progress_over(frames, "inference", "frame", frames.stated)
    drawn = (
        render(frame, predict(predictor, frame, f"{source}, frame {number}")) for number, frame in enumerate(progress)
    )
    if kind != "foreground":
        result = out / f"{source.stem}.mp4"
        _refuse_overwriting([source], [result], overwrite=overwrite)
        out.mkdir(parents=True, exist_ok=True)
        with video_writer(result, frames.fps) as add:
            for picture in drawn:
                add(picture)
        return result
    folder = out / source.stem
    if folder.exists():
        raise DatasetError(f"{folder} is there already: the frames of {source} become a folder of that name")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=out) as temporary:
        staging = Path(temporary) / folder.name  # one deeper, as TemporaryDirectory shuts its own from other users
        staging.mkdir()
        for number, picture in enumerate(drawn):
            write_png(staging / f"{number:06d}.png", picture)
        staging.replace(folder)
    return folder


def _refuse_equal_names(source: Path, images: Sequence[Path]) -> None:
    """Images of one folder whose results would be one file."""
    stems = Counter(path.stem for path in images)
    if equal := sorted(path.name for path in images if stems[path.stem] > 1):
        more = f" and {len(equal) - _NAMED} more" if len(equal) > _NAMED else ""
        raise DatasetError(
            f"{source} holds images of equal name, whose mattes would overwrite each other: "
            f"{', '.join(equal[:_NAMED])}{more}"
        )


def _refuse_overwriting(sources: Sequence[Path], results: Sequence[Path], *, overwrite: bool) -> None:
    taken = {path.resolve() for path in sources}
    for result in results:
        if result.resolve() in taken:
            raise DatasetError(f"{result} is one of the sources and would be written over: choose another folder")
    there = [] if overwrite else [result for result in results if result.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise DatasetError(f"{there[0]}{more} is there already: choose another place, or replace it with --overwrite")
