"""Writing a video beside the one that its frames came from: same times, same shape of pixels, same sound."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from modnet.errors import DatasetError
from modnet.workloads.matting.predict.video import Frame, VideoFrames

_CODEC: Final = "libx264"  # H.264 in .mp4 is what every browser, phone and editor plays
_QUALITY = {"crf": "17", "preset": "fast"}  # of which the eye sees no loss
_FINEST = Fraction(1, 90_000)  # s: .mp4 counts how long a frame is shown in 32 bits, which of nanoseconds is 4 s
_KEPT_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})  # what players read in .mp4
_SOUND_CODEC: Final = "aac"
_SOUND_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_LAYOUTS = {1: "mono", 6: "5.1"}  # by channels; others become stereo

Add = Callable[[NDArray[np.uint8], Frame], None]
"""A picture, uint8 grey (H, W) or RGB (H, W, 3), and the frame in whose place it is."""


@contextmanager
def video_writer(path: Path, frames: VideoFrames) -> Iterator[Add]:
    """Yields a function that adds a picture in the place of a frame to an H.264 video (.mp4).

    The sound of `frames` is copied where .mp4 can hold it, otherwise encoded anew as AAC. The file appears when the
    block ends without an error; until then, and after an interruption, there is none. The codec holds even sides only:
    a last odd row or column is left out. Pictures of another size than the first are brought to its.

    Raises:
        DatasetError: pictures below 2 × 2 pixels, none at all, or the file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
    try:
        with _saying(path):
            file = partial.open("wb", buffering=0)  # FFmpeg has a buffer; a second one would fail once more on closing
        with file:  # closed before the container goes, which then writes nothing more
            target = _Target(path, file, frames)
            yield target.add
            target.finish()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _saying(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise DatasetError(f"video {path} cannot be written: {error}") from error


class _Target:
    """The file; its streams are opened at the first picture, whose size must be known, and earlier sound waits."""

    def __init__(self, path: Path, file: IO[bytes], frames: VideoFrames) -> None:
        self._path = path
        self._container = av.open(file, "w", format="mp4")
        self._frames = frames
        self._pictures: VideoStream | None = None
        self._sounds: dict[int, _Sound] = {}
        self._waiting: list[Packet[Any]] = []
        frames.take_sound = self._add_sound

    def add(self, picture: NDArray[np.uint8], frame: Frame) -> None:
        if picture.shape[0] < 2 or picture.shape[1] < 2:
            raise DatasetError(f"video of {picture.shape[1]} × {picture.shape[0]} pixels: at least 2 × 2 are needed")
        even = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
        converted = av.VideoFrame.from_ndarray(even, "gray" if even.ndim == 2 else "rgb24")
        with _saying(self._path):
            if self._pictures is None:
                self._pictures = self._open(even.shape[0], even.shape[1], frame)
            size, colours = (self._pictures.width, self._pictures.height), (Colorspace.ITU709, ColorRange.MPEG)
            converted = converted.reformat(*size, "yuv420p", dst_colorspace=colours[0], dst_color_range=colours[1])
            converted.pts, converted.duration = frame.start, frame.duration
            converted.time_base = self._frames.time_base
            self._container.mux(self._pictures.encode(converted))

    def finish(self) -> None:
        """Writes what the encoders still hold, and the container's index."""
        if self._pictures is None:
            raise DatasetError(f"video {self._path}: no frame was given")
        with _saying(self._path):
            self._container.mux(self._pictures.encode(None))
            for sound in self._sounds.values():
                self._container.mux(sound.rest())
            self._container.close()

    def _open(self, height: int, width: int, frame: Frame) -> VideoStream:
        stream = self._container.add_stream(_CODEC, self._frames.rate, _QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = max(self._frames.time_base, _FINEST)
        context.flags |= Flags.frame_duration  # otherwise the last frame is shown for no time
        context.sample_aspect_ratio = frame.pixel_aspect
        stream.colorspace, stream.color_range = Colorspace.ITU709, ColorRange.MPEG
        stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._sounds = {source.index: _Sound(self._container, source, self._frames) for source in self._frames.sounds}
        for packet in self._waiting:
            self._container.mux(self._sounds[packet.stream_index].taken(packet))
        self._waiting.clear()
        return stream

    def _add_sound(self, packet: Packet[Any]) -> None:
        if self._pictures is None:
            self._waiting.append(packet)
            return
        with _saying(self._path):
            self._container.mux(self._sounds[packet.stream_index].taken(packet))


class _Sound:
    """A sound track on its way from file to file: as it is, or decoded and encoded anew."""

    def __init__(self, container: OutputContainer, source: AudioStream, frames: VideoFrames) -> None:
        self._source, self._frames = source, frames
        self._is_kept = source.codec_context.codec.canonical_name in _KEPT_SOUND
        self._last_dts: int | None = None
        self._resampler: av.AudioResampler | None = None
        self._resampled: object = None  # what kind of frames the resampler is for
        if self._is_kept:
            self._target = container.add_stream_from_template(source)
            return
        rate = source.rate if source.rate in _SOUND_RATES else _SOUND_RATES[0]
        self._target = container.add_stream(_SOUND_CODEC, rate)
        self._target.layout = _LAYOUTS.get(source.channels, "stereo")

    def taken(self, packet: Packet[Any]) -> list[Packet[Any]]:
        if not self._is_kept:
            return [encoded for frame in self._decoded(packet) for encoded in self._encoded(frame)]
        if self._last_dts is not None and packet.dts is not None and packet.dts <= self._last_dts:
            self._frames.damaged += 1  # a container takes no step back
            return []
        self._last_dts, packet.stream = packet.dts, self._target
        return [packet]

    def rest(self) -> list[Packet[Any]]:
        if self._is_kept:
            return []
        late = [encoded for frame in self._decoded(None) for encoded in self._encoded(frame)]
        return late + self._flushed() + self._target.encode(None)

    def _decoded(self, packet: Packet[Any] | None) -> list[av.AudioFrame]:
        try:
            return self._source.decode(packet)
        except av.FFmpegError:
            self._frames.damaged += 1
            return []

    def _encoded(self, frame: av.AudioFrame) -> list[Packet[Any]]:
        kind, before = (frame.format.name, frame.layout.name, frame.sample_rate), []
        if self._resampler is None or kind != self._resampled:  # a track may change from stereo to 5.1 amid
            before = self._flushed()
            # async: silence where packets are missing, so that what follows is heard at its time
            target = self._target
            self._resampler = av.AudioResampler(target.format, target.layout, target.rate, options={"async": "1"})
            self._resampled = kind
        return before + [packet for one in self._resampler.resample(frame) for packet in self._target.encode(one)]

    def _flushed(self) -> list[Packet[Any]]:
        if self._resampler is None:
            return []
        return [packet for one in self._resampler.resample(None) for packet in self._target.encode(one)]
