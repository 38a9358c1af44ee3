"""Frames come back upright and at their times, whatever the container; what cannot be read is counted or refused."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from modnet.errors import DatasetError
from modnet.workloads.matting.predict.video import Frame, VideoFrames
from tests.unit.modnet.workloads.matting.predict.videos import flat, noise, write_video

UNEVEN = [0, 33, 67, 100, 200, 300, 450]  # ms


def read(path: Path) -> tuple[list[Frame], VideoFrames]:
    with VideoFrames(path) as frames:
        return list(frames), frames


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("clip.mp4", "libx264", "aac"),
        ("clip.mkv", "libx264", "libopus"),
        ("clip.webm", "libvpx-vp9", "libopus"),
        ("clip.mov", "libx264", None),
    ],
)
def test_video_frames_gives_pictures_at_their_times_when_the_sound_is_longer(
    name: str, codec: str, sound: str | None, tmp_path: Path
) -> None:
    pictures = [flat(30 * number) for number in range(len(UNEVEN))]
    given, video = read(write_video(tmp_path / name, pictures, UNEVEN, codec=codec, sound=sound, sound_s=2))
    assert [float(frame.start * video.time_base) for frame in given] == pytest.approx([ms / 1000 for ms in UNEVEN])
    for frame, picture in zip(given, pictures, strict=True):
        assert frame.image.dtype == np.uint8
        np.testing.assert_allclose(frame.image.astype(int), picture, atol=8)
    assert (video.damaged, video.problem) == (0, None)


def test_video_frames_begins_at_0_when_the_file_does_not(tmp_path: Path) -> None:
    (first, second), video = read(write_video(tmp_path / "clip.mp4", [flat(0), flat(90)], [5000, 5040]))
    assert (first.start * video.time_base, second.start * video.time_base) == (0, Fraction(1, 25))


@pytest.mark.parametrize("turned", [(angle, flipped) for angle in (0, 90, 180, -90) for flipped in (False, True)])
def test_video_frames_turns_pictures_and_their_pixels_upright(turned: tuple[int, bool], tmp_path: Path) -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:8, :, 0], picture[:, :8, 2] = 200, 200  # a red top, a blue left
    path = write_video(tmp_path / "clip.mp4", [picture], aspect=Fraction(4, 3), turned=turned)
    ((frame,), _) = read(path)
    shown = np.rot90(picture, turned[0] // 90)
    shown = shown[:, ::-1] if turned[1] else shown
    np.testing.assert_allclose(frame.image[4::8, 4::8].astype(int), shown[4::8, 4::8], atol=30)
    assert frame.pixel_aspect == (Fraction(3, 4) if abs(turned[0]) == 90 else Fraction(4, 3))


def test_video_frames_reads_a_relative_path_with_a_colon_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "clip.mp4", [flat(9)]).rename(tmp_path / "clip12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("clip12:30.mp4"))[0]) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"no video", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n", None],
    ids=["empty", "text", "list of other files", "missing"],
)
def test_video_frames_raises_and_names_the_file_when_it_is_no_video(
    content: bytes | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "other.mp4", [flat(9)])
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(DatasetError, match=r"clip\.mp4"):
        VideoFrames(tmp_path / "clip.mp4")
    assert capfd.readouterr() == ("", "")  # FFmpeg itself is silent


def test_video_frames_raises_when_the_index_at_the_end_is_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", [flat(9)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="cut off, damaged or no video"):
        VideoFrames(path)


def test_video_frames_raises_when_there_is_sound_only(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        track = container.add_stream("aac", 48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        frame.sample_rate = 48000
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    with pytest.raises(DatasetError, match="holds no pictures"):
        VideoFrames(tmp_path / "clip.mp4")


def test_video_frames_gives_what_is_there_and_says_so_when_the_file_is_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", noise(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    given, video = read(path)
    assert 5 <= len(given) <= 15
    assert video.problem is not None
    assert video.problem.endswith("of 2.00 s: cut off or damaged")


def test_video_frames_counts_what_is_damaged_amid_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "clip.mkv", noise(20), options={"g": "1"})
    content = bytearray(path.read_bytes())
    for at in (len(content) // 3, len(content) // 2):
        content[at : at + 64] = bytes(64)
    path.write_bytes(content)
    with caplog.at_level(logging.DEBUG):
        given, video = read(path)
    assert 18 <= len(given) <= 20
    assert given[-1].start * video.time_base == Fraction(19, 10)
    assert (1 <= video.damaged <= 4, video.problem) == (True, None)
    assert capfd.readouterr() == ("", "")
