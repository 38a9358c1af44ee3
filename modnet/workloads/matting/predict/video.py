"""Reading videos, one frame at a time: pictures upright, with the times at which they are shown, and the sound.

Containers are FFmpeg's business, by PyAV. Nothing relies on how many frames a container states: Matroska and WebM state
none, only a length, which is that of the sound when it is the longer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import Colorspace

from modnet.data.images import Image
from modnet.errors import DatasetError

# What may be opened, whatever a file's name says: a play list, say, would have further files and addresses opened.
_OPENING = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi", "protocol_whitelist": ""}
_LEAST_SHARE = 0.95  # of the stated length: it may be estimated, or round a frame up
_MICROSECOND = Fraction(1, av.time_base)
_UNKNOWN_COLOURS, _HD_HEIGHT = 2, 720  # FFmpeg's "unspecified"; from this height on players then assume BT.709


@dataclass(frozen=True)
class Frame:
    """A picture, uint8 (H, W, 3) RGB, upright; shown at `start` for `duration`, in units of `VideoFrames.time_base`.

    Frames come in the order in which they are shown; `start` is above that of the one before and may begin above 0. A
    `duration` of 0 is unknown. A pixel is `pixel_aspect` times as wide as high.
    """

    image: Image
    start: int
    duration: int
    pixel_aspect: Fraction


class VideoFrames(AbstractContextManager["VideoFrames"]):
    """The frames of a video; a context, and read once.

    Attributes:
        expected: about how many frames there are; None where that cannot be told.
        time_base: seconds of a unit of time.
        rate: average frames per second.
        sounds: the sound tracks.
        take_sound: is called with each of their packets, in the order of the file, its times in units of its own.
        damaged: how many packets or frames were found damaged so far; damaged frames are given as far as they could be
            decoded.
        problem: what was wrong with the file as a whole, once all frames were read; None if nothing.

    Raises:
        DatasetError: missing, damaged so that no frame can be found, or without pictures.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")  # a name with a colon would be taken for an address
        except OSError as error:
            raise DatasetError(f"video {path}: {(error.strerror or str(error)).lower()}") from error
        try:
            self._container = av.open(self._file, "r", options=_OPENING, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            size = path.stat().st_size
            raise DatasetError(f"video {path} ({size} bytes): cut off, damaged or no video ({error})") from error
        pictures = [one for one in self._container.streams.video if not one.disposition & Disposition.attached_pic]
        if not pictures:
            self.close()
            raise DatasetError(f"video {path}: holds no pictures")
        self._pictures = pictures[0]
        self._pictures.thread_type = "AUTO"
        self.time_base = self._pictures.time_base or _MICROSECOND
        self.rate = self._pictures.average_rate or self._pictures.guessed_rate or Fraction(25)
        self.sounds = tuple(self._container.streams.audio)
        self.take_sound: Callable[[Packet[Any]], None] = lambda _: None  # nobody asked for it
        self.damaged = 0
        self.problem: str | None = None
        length = self._container.duration
        self.expected = self._pictures.frames or (round(length * _MICROSECOND * self.rate) if length else None)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._container.close()
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        """All frames that can be decoded.

        Raises:
            DatasetError: there is none.
        """
        next_start, count = 0, 0
        for decoded in self._decoded():
            self.damaged += decoded.is_corrupt
            start = next_start if decoded.pts is None else max(next_start, decoded.pts - self._offset(self.time_base))
            duration = decoded.duration or round(1 / (self.rate * self.time_base))
            next_start = start + (duration if decoded.pts is None else 1)
            count += 1
            image, is_turned = _upright(decoded)
            aspect = self._pictures.sample_aspect_ratio or Fraction(1)
            yield Frame(image, start, decoded.duration, 1 / aspect if is_turned else aspect)
        if not count:
            raise DatasetError(f"video {self._path} holds no frame that can be read")

    def _decoded(self) -> Iterator[av.VideoFrame]:
        end = Fraction(0)  # seconds from 0, not from when the file begins: Matroska counts its length from there
        try:
            for packet in self._container.demux():
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream == self._pictures:
                    yield from self._decode(packet)
                elif packet.stream in self.sounds and packet.dts is not None:  # None: the empty packet at the end
                    offset = self._offset(packet.time_base)
                    packet.dts -= offset
                    packet.pts = packet.dts if packet.pts is None else packet.pts - offset
                    self.take_sound(packet)
        except (av.FFmpegError, OSError) as error:
            self.problem = f"cannot be read beyond {float(end):.2f} s: {error}"
            yield from self._decode(None)
        length = (self._container.duration or 0) * _MICROSECOND
        if self.problem is None and end < _LEAST_SHARE * length:
            self.problem = f"ends after {float(end):.2f} of {float(length):.2f} s: cut off or damaged"

    def _decode(self, packet: Packet[Any] | None) -> list[av.VideoFrame]:
        try:
            return self._pictures.decode(packet)
        except av.FFmpegError:
            self.damaged += 1
            return []

    def _offset(self, unit: Fraction) -> int:
        """When the file begins, which need not be at 0, in units of so many seconds."""
        return round((self._container.start_time or 0) * _MICROSECOND / unit)


def _upright(frame: av.VideoFrame) -> tuple[Image, bool]:
    """The frame as it is to be shown, RGB, and whether its rows, which are those of the sensor, became columns."""
    is_unknown = frame.colorspace == _UNKNOWN_COLOURS
    colours = Colorspace.ITU709 if is_unknown and frame.height >= _HD_HEIGHT else None
    image = frame.to_ndarray(format="rgb24", src_colorspace=colours)
    turn = cast(Any, frame.side_data).get(Type.DISPLAYMATRIX)
    if turn is None:
        return np.asarray(image, np.uint8), False
    # Rows of FFmpeg's matrix: where a step to the right leads, and where a step down; (right, down) each.
    (right, across), (down_right, down) = np.frombuffer(bytes(turn), np.int32).reshape(3, 3)[:2, :2].tolist()
    is_turned = abs(across) > abs(right)
    if is_turned:
        image, right, down = image.transpose(1, 0, 2), down_right, across
    upright = image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
    return np.ascontiguousarray(upright, np.uint8), is_turned
