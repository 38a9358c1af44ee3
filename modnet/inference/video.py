"""Videos, one frame at a time: nothing here holds more than a frame."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image
from modnet.errors import DatasetError

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})

_LEAST_SHARE = 0.95  # some containers state a length, not a count: what is stated may be a few frames off


class VideoFrames:
    """The frames of a video, upright, as uint8 (H, W, 3), RGB; read once.

    Attributes:
        fps: frames per second as stated.
        stated: how many frames the file says it has; None where it does not.

    Raises:
        DatasetError: missing, damaged, or without a frame rate.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise DatasetError(f"video {path}: no such file")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise DatasetError(f"video {path} ({path.stat().st_size} bytes): cut off, damaged or no video")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise DatasetError(f"video {path}: states no frame rate, got {self.fps}")
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.stated = int(count) if math.isfinite(count) and count > 0 else None

    def __iter__(self) -> Iterator[Image]:
        """All frames.

        Raises:
            DatasetError: there is none, or the file ends well before what it states.
        """
        count = 0
        try:
            while True:
                is_read, frame = self._capture.read()
                if not is_read:
                    break
                count += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        finally:
            self._capture.release()
        if not count:
            raise DatasetError(f"video {self._path} holds no frame that can be read")
        if self.stated is not None and count < _LEAST_SHARE * self.stated:
            raise DatasetError(f"video {self._path} is cut off or damaged: {count} of {self.stated} frames can be read")


@contextmanager
def video_writer(path: Path, fps: float) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Yields a function that adds a frame, uint8 grey (H, W) or RGB (H, W, 3), to an MPEG-4 video (.mp4).

    The file appears when the block ends without an error; until then, and after an interruption, there is none. The
    codec holds even sides only: a last odd row or column is left out.

    Raises:
        DatasetError: frames of different sizes or below 2 × 2 pixels, none at all, or the file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
    stream = _Stream(partial, fps)
    try:
        yield stream.add
        stream.finish()
        partial.replace(path)
    finally:
        stream.release()
        partial.unlink(missing_ok=True)


class _Stream:
    """An OpenCV writer, which is opened at the first frame as it wants to know the size."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._count = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        size = (frame.shape[1] // 2 * 2, frame.shape[0] // 2 * 2)
        if self._writer is None:
            if not all(size):
                raise DatasetError(f"video of {frame.shape[1]} × {frame.shape[0]} pixels: at least 2 × 2 are needed")
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer, self._size = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, fourcc, self._fps, size), size
        if not self._writer.isOpened():
            raise DatasetError(
                f"video of {size[0]} × {size[1]} at {self._fps:g} fps: cannot be written to {self._path}"
            )
        if size != self._size:  # OpenCV would leave it out and say nothing
            raise DatasetError(f"frame {self._count} of a video of {self._size} (width, height) has {size}")
        even = frame[: size[1], : size[0]]
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_GRAY2BGR if even.ndim == 2 else cv2.COLOR_RGB2BGR))
        self._count += 1

    def finish(self) -> None:
        """Ends the file, and looks into it: OpenCV says nothing of a full disk."""
        self.release()
        if not self._count:
            raise DatasetError(f"video {self._path}: no frame was given")
        written = VideoFrames(self._path).stated
        if written != self._count:
            raise DatasetError(f"video {self._path} holds {written} of {self._count} frames: is the disk full?")

    def release(self) -> None:
        if self._writer is not None:
            self._writer.release()
