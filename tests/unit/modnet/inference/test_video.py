"""Frames come back as they went in; what is cut, empty or interrupted leaves an error and no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.errors import DatasetError
from modnet.inference.video import VideoFrames, video_writer


def frame(level: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """A picture whose colours tell red from blue."""
    return np.broadcast_to(np.array([level, 128, 255 - level], np.uint8), (*size, 3)).copy()


def write(path: Path, frames: Iterable[np.ndarray]) -> Path:
    with video_writer(path, 12.5) as add:
        for one in frames:
            add(one)
    return path


def clip(folder: Path, length: int = 5, size: tuple[int, int] = (32, 48)) -> Path:
    return write(folder / "clip.mp4", (frame(40 * number, size) for number in range(length)))


def write_motion_jpeg(path: Path, frames: int) -> Path:
    """An .avi of noise, which can be read without its end."""
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for _ in range(frames):
        writer.write(random.integers(0, 255, (96, 128, 3), dtype=np.uint8))
    writer.release()
    return path


def test_video_frames_gives_back_frames_and_rate(tmp_path: Path) -> None:
    video = VideoFrames(clip(tmp_path))
    assert (video.fps, video.stated) == (12.5, 5)
    for number, read in enumerate(video):
        assert read.dtype == np.uint8
        np.testing.assert_allclose(read.astype(int), frame(40 * number), atol=8)
    assert number == 4


def test_video_writer_takes_grey_frames(tmp_path: Path) -> None:
    (read,) = VideoFrames(write(tmp_path / "matte.mp4", [np.full((32, 48), 200, np.uint8)]))
    np.testing.assert_allclose(read, 200, atol=8)


def test_video_writer_leaves_out_an_odd_row_and_column(tmp_path: Path) -> None:
    assert next(iter(VideoFrames(clip(tmp_path, size=(33, 49))))).shape == (32, 48, 3)


def test_video_writer_leaves_no_file_and_keeps_the_old_one_when_it_is_interrupted(tmp_path: Path) -> None:
    def interrupted() -> Iterator[np.ndarray]:
        yield frame(0)
        raise KeyboardInterrupt

    path = clip(tmp_path, length=2)
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert list(tmp_path.iterdir()) == [path]
    assert VideoFrames(path).stated == 2


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frame was given"),
        ([frame(0), frame(0, (64, 64))], r"frame 1 of a video of \(48, 32\) \(width, height\) has \(64, 64\)"),
        ([frame(0, (1, 1))], "1 × 1 pixels: at least 2 × 2"),
    ],
    ids=["none", "another size", "one pixel"],
)
def test_video_writer_raises_and_leaves_no_file_when_frames_make_no_video(
    frames: list[np.ndarray], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "clip.mp4", frames)
    assert not list(tmp_path.iterdir())


def test_video_writer_raises_when_there_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be written"):
        write(tmp_path / "none" / "clip.mp4", [frame(0)])


@pytest.mark.parametrize("content", [b"", b"no video", None], ids=["empty", "text", "missing"])
def test_video_frames_raises_and_names_the_file_when_it_is_no_video(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(DatasetError, match=r"clip\.mp4"):
        VideoFrames(tmp_path / "clip.mp4")


def test_video_frames_raises_when_the_index_at_the_end_is_cut_off(tmp_path: Path) -> None:
    path = clip(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="cut off, damaged or no video"):
        VideoFrames(path)


def test_video_frames_raises_after_the_last_frame_when_many_are_missing(tmp_path: Path) -> None:
    path = write_motion_jpeg(tmp_path / "clip.avi", frames=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = iter(VideoFrames(path))
    assert next(frames).shape == (96, 128, 3)
    with pytest.raises(DatasetError, match=r"clip\.avi is cut off or damaged: \d+ of 20 frames can be read"):
        list(frames)
