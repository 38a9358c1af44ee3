"""Real videos, made by PyAV: with chosen times, turns, shapes of pixels and sound."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

MS = Fraction(1, 1000)
RATE = 48000


def write_video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    times: Sequence[int] | None = None,
    *,
    time_base: Fraction = MS,
    codec: str = "libx264",
    aspect: Fraction = Fraction(1),
    turned: tuple[int, bool] | None = None,
    sound: str | None = None,
    sound_s: float = 0.0,
    layout: str = "stereo",
    options: dict[str, str] | None = None,
) -> Path:
    """Pictures, uint8 (H, W, 3) RGB with even sides, shown at `times` (by default every 100 ms), beside a tone."""
    times = (
        times if times is not None else [round(number * Fraction(1, 10) / time_base) for number in range(len(pictures))]
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, 10, options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.sample_aspect_ratio = aspect
        if turned:
            stream.set_display_rotation(turned[0], hflip=turned[1])
        track = container.add_stream(sound, RATE) if sound else None
        if track is not None:
            track.layout = layout
        for time, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            _write_tone(container, track, sound_s)
    return path


def flat(level: int, size: tuple[int, int] = (32, 48)) -> NDArray[np.uint8]:
    """A picture whose colours tell red from blue."""
    return np.broadcast_to(np.array([level, 128, 255 - level], np.uint8), (*size, 3)).copy()


def noise(count: int, size: tuple[int, int] = (96, 128)) -> list[NDArray[np.uint8]]:
    """Pictures that no codec can make small."""
    return list(np.random.default_rng(0).integers(0, 255, (count, *size, 3), dtype=np.uint8))


def _write_tone(container: OutputContainer, track: av.AudioStream, seconds: float) -> None:
    for first in range(0, round(seconds * RATE), 1024):
        at = np.arange(first, first + 1024) / RATE
        tone = (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone], 1).reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def shown(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """When each frame of a video is shown, in seconds, and its picture."""
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def sound_of(path: Path) -> tuple[str, float, float]:
    """Codec of the sound, and its length and root mean square, of 1, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray() for frame in container.decode(stream)]
        values = np.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=1)
        scale = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
        count = values.shape[1] / (1 if stream.format.is_planar else stream.channels)
        return stream.codec_context.codec.canonical_name, count / stream.rate, float(np.std(values / scale))
