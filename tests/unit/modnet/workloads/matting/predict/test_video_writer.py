"""A written video has the times, the pixels and the sound of the one it came from, and appears whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from modnet.errors import DatasetError
from modnet.workloads.matting.predict.video import VideoFrames
from modnet.workloads.matting.predict.video_writer import video_writer
from tests.unit.modnet.workloads.matting.predict.videos import flat, noise, shown, sound_of, write_video

Picture = NDArray[np.uint8]
STEADY_THEN_SLOW = [*range(0, 500, 33), *range(528, 1100, 67)]  # ms


def rewrite(source: Path, target: Path, draw: Callable[[Picture], Picture] = lambda picture: picture) -> Path:
    with VideoFrames(source) as frames, video_writer(target, frames) as add:
        for frame in frames:
            add(draw(frame.image), frame)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "sound", "written"),
    [
        ("a.mp4", "libx264", "aac", "aac"),
        ("a.mkv", "libx264", "libopus", "opus"),
        ("a.webm", "libvpx-vp9", "libopus", "opus"),
        ("a.mov", "libx264", "pcm_s16le", "aac"),
        ("a.mkv", "ffv1", "flac", "aac"),
    ],
)
def test_video_writer_keeps_times_and_sound(name: str, codec: str, sound: str, written: str, tmp_path: Path) -> None:
    pictures = [flat(8 * number) for number in range(len(STEADY_THEN_SLOW))]
    source = write_video(tmp_path / name, pictures, STEADY_THEN_SLOW, codec=codec, sound=sound, sound_s=3)
    frames = shown(rewrite(source, tmp_path / "out.mp4"))
    assert [time for time, _ in frames] == pytest.approx([ms / 1000 for ms in STEADY_THEN_SLOW], abs=1e-3)
    for (_, got), picture in zip(frames, pictures, strict=True):
        np.testing.assert_allclose(got.astype(int), picture, atol=10)
    codec_name, seconds, deviation = sound_of(tmp_path / "out.mp4")
    assert (codec_name, seconds) == (written, pytest.approx(3, abs=0.1))
    assert deviation == pytest.approx(8000 / 32768 / 2**0.5, rel=0.02)  # the tone, not silence


def test_video_writer_goes_on_when_a_packet_of_sound_states_an_earlier_time(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", [flat(0)] * 3, sound="libopus", sound_s=1)
    content = source.read_bytes()
    at = next(ms for ms in range(500, 521) if b"\x82" + ms.to_bytes(2, "big") in content)  # a block of track 2
    source.write_bytes(content.replace(b"\x82" + at.to_bytes(2, "big"), b"\x82" + (20).to_bytes(2, "big"), 1))
    with VideoFrames(source) as frames, video_writer(tmp_path / "out.mp4", frames) as add:
        for frame in frames:
            add(frame.image, frame)
    assert frames.damaged == 1
    assert sound_of(tmp_path / "out.mp4")[1] == pytest.approx(1, abs=0.1)


def test_video_writer_encodes_sound_that_changes_from_stereo_to_mono(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{layout}.mkv", [flat(0)], codec="mjpeg", sound="mp2", sound_s=1, layout=layout)
        for layout in ("stereo", "mono")
    ]
    with av.open(str(tmp_path / "both.mkv"), "w") as both:
        streams = []
        for number, part in enumerate(parts):
            with av.open(str(part)) as one:
                streams = streams or [both.add_stream_from_template(stream, opaque=True) for stream in one.streams]
                for packet in one.demux():
                    if packet.dts is not None:
                        second = round(number / packet.time_base)
                        packet.pts, packet.dts = packet.pts + second, packet.dts + second
                        packet.stream = streams[packet.stream_index]
                        both.mux(packet)
    rewrite(tmp_path / "both.mkv", tmp_path / "out.mp4")
    codec, seconds, deviation = sound_of(tmp_path / "out.mp4")
    assert (codec, seconds) == ("aac", pytest.approx(2, abs=0.15))
    assert deviation == pytest.approx(8000 / 32768 * (0.75 / 2) ** 0.5, rel=0.05)  # mono on two channels is 3 dB less


def test_video_writer_shows_the_last_frame_as_long_as_the_source_does(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [flat(0), flat(90)])
    with av.open(str(rewrite(source, tmp_path / "out.mp4"))) as container:
        assert container.duration == pytest.approx(200_000, abs=2000)  # µs


def test_video_writer_keeps_times_that_are_given_in_tiny_units(tmp_path: Path) -> None:
    times, unit = [0, 33, 5000, 5033], Fraction(1, 100_000_000)
    ticks = [round(ms * Fraction(1, 1000) / unit) for ms in times]
    source = write_video(tmp_path / "a.mp4", [flat(0)] * 4, ticks, time_base=unit)
    frames = shown(rewrite(source, tmp_path / "out.mp4"))
    assert [time for time, _ in frames] == pytest.approx([ms / 1000 for ms in times], abs=1e-4)


def test_video_writer_keeps_the_shape_of_pixels(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [flat(0)], aspect=Fraction(4, 3))
    with av.open(str(rewrite(source, tmp_path / "out.mp4"))) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_video_writer_takes_grey_pictures_and_leaves_out_an_odd_row_and_column(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [flat(0)])
    ((_, got),) = shown(rewrite(source, tmp_path / "out.mp4", lambda _: np.full((33, 49), 200, np.uint8)))
    assert got.shape == (32, 48, 3)
    np.testing.assert_allclose(got, 200, atol=3)


def test_video_writer_brings_pictures_of_another_size_to_the_first(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [flat(0), flat(0)])
    sizes = iter([(32, 48), (64, 64)])
    frames = shown(rewrite(source, tmp_path / "out.mp4", lambda _: flat(200, next(sizes))))
    assert [picture.shape for _, picture in frames] == [(32, 48, 3)] * 2


def test_video_writer_leaves_no_file_and_keeps_the_old_one_when_it_is_interrupted(tmp_path: Path) -> None:
    calls: Iterator[int] = iter(range(9))

    def interrupted(picture: Picture) -> Picture:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return picture

    source = write_video(tmp_path / "a.mkv", [flat(0)] * 3, sound="libopus", sound_s=1)
    target = rewrite(source, tmp_path / "out.mp4")
    before = target.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        rewrite(source, target, interrupted)
    assert sorted(tmp_path.iterdir()) == [source, target]
    assert target.read_bytes() == before


def test_video_writer_raises_and_leaves_no_file_when_the_disk_is_full(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", noise(20), sound="libopus", sound_s=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DatasetError, match=r"out\.mp4 cannot be written"):
            rewrite(source, tmp_path / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [source]


def test_video_writer_raises_when_pictures_are_too_small_or_none(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [flat(0)])
    with pytest.raises(DatasetError, match="1 × 1 pixels: at least 2 × 2"):
        rewrite(source, tmp_path / "out.mp4", lambda _: flat(0, (1, 1)))
    with (
        pytest.raises(DatasetError, match="no frame was given"),
        VideoFrames(source) as frames,
        video_writer(tmp_path / "out.mp4", frames),
    ):
        pass
    assert list(tmp_path.iterdir()) == [source]


def test_video_writer_raises_when_there_is_no_such_folder(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [flat(0)])
    with pytest.raises(DatasetError, match="cannot be written"):
        rewrite(source, tmp_path / "none" / "out.mp4")
