"""From a video to a video, or to pictures of its frames: the matte of each, shown when the frame was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modnet.data.images import write_png
from modnet.errors import DatasetError
from modnet.progress import progress_over
from modnet.workloads.matting.data.images import checked_alpha
from modnet.workloads.matting.names import ResultKind
from modnet.workloads.matting.predict.infer import refuse_overwriting
from modnet.workloads.matting.predict.results import Render
from modnet.workloads.matting.predict.video import Frame, VideoFrames
from modnet.workloads.matting.predict.video_writer import video_writer

if TYPE_CHECKING:
    from modnet.workloads.matting.evaluate import Predictor


@dataclass(frozen=True)
class VideoResult:
    """What became of a video."""

    written: Path  # the video, or the folder of pictures
    frames: int  # how many frames it has
    damaged: int  # how many packets or frames of the source were; what could be decoded of them is among `frames`
    problem: str | None  # what was wrong with the source as a whole; None if nothing


def infer_video(
    predictor: Predictor, source: Path, out: Path, render: Render, kind: ResultKind, *, overwrite: bool = False
) -> VideoResult:
    """Draws every frame of a video that can be decoded, each by itself.

    That gives a video `<out>/<stem>.mp4` with the source's times, shape of pixels and sound, upright; see
    `video_writer`. Videos of that kind have no transparency: a `foreground` becomes a folder `<out>/<stem>/` of
    numbered PNGs and a list of them with their times, `frames.ffconcat`. Either appears when all frames are done, or
    not at all. A frame that cannot be decoded is left out: the one before it stays for longer. A video of an earlier
    run may be replaced with `overwrite`; a folder of pictures never is.

    Raises:
        DatasetError: no frame of the video can be read, or the result cannot be written or is there already; the
            predictor gives what is no alpha.
    """
    with VideoFrames(source) as frames:
        progress = progress_over(frames, "inference", "frame", frames.expected)
        named = ((frame, f"{source}, frame {number}") for number, frame in enumerate(progress))
        alphas = ((frame, checked_alpha(predictor(frame.image), frame.image, name)) for frame, name in named)
        drawn = ((render(frame.image, alpha), frame) for frame, alpha in alphas)
        count = 0
        if kind == "foreground":
            written = out / source.stem
            if written.exists():
                raise DatasetError(f"{written} is there already: the frames of {source} become a folder of that name")
            out.mkdir(parents=True, exist_ok=True)
            count = _write_pictures(written, drawn, frames.time_base)
        else:
            written = out / f"{source.stem}.mp4"
            refuse_overwriting([source], [written], overwrite=overwrite)
            out.mkdir(parents=True, exist_ok=True)
            with video_writer(written, frames) as add:
                for picture, frame in drawn:
                    add(picture, frame)
                    count += 1
    return VideoResult(written, count, frames.damaged, frames.problem)


def _write_pictures(folder: Path, drawn: Iterable[tuple[NDArray[np.uint8], Frame]], time_base: Fraction) -> int:
    """Writes numbered PNGs, and in a list that FFmpeg reads how long each is shown; returns how many there are."""
    with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as temporary:
        staging = Path(temporary) / folder.name  # one deeper, as TemporaryDirectory shuts its own from other users
        staging.mkdir()
        starts: list[int] = []
        last = 0
        for number, (picture, frame) in enumerate(drawn):
            write_png(staging / f"{number:06d}.png", picture)
            starts.append(frame.start)
            last = frame.duration
        ends = [*starts[1:], starts[-1] + last]
        lines = [
            f"file {number:06d}.png\nduration {float((end - start) * time_base):.6f}"
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        (staging / "frames.ffconcat").write_text("\n".join(["ffconcat version 1.0", *lines, ""]))
        staging.replace(folder)
    return len(starts)
