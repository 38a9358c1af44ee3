"""From a video to a video or to pictures, with a made-up network; nothing half-written is left."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.data.images import Image
from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.names import ResultKind
from modnet.workloads.matting.predict.infer_video import infer_video
from modnet.workloads.matting.predict.results import renderer
from tests.unit.modnet.workloads.matting.predict.videos import noise, shown, write_video

LEVELS, TIMES = (40, 200, 120), [0, 33, 133]


def brightness(image: Image) -> Alpha:
    """What is bright is the person."""
    return image.mean(axis=2, dtype=np.float32) / np.float32(255)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", [np.full((32, 48, 3), level, np.uint8) for level in LEVELS], TIMES)


def test_infer_video_writes_a_video_of_same_size_and_times(clip: Path, tmp_path: Path) -> None:
    result = infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha")
    assert (result.frames, result.damaged, result.problem) == (3, 0, None)
    mattes = shown(result.written)
    assert [time for time, _ in mattes] == [0, 0.033, 0.133]
    for level, (_, matte) in zip(LEVELS, mattes, strict=True):
        assert matte.shape == (32, 48, 3)
        np.testing.assert_allclose(matte, level, atol=6)  # what the codec loses, twice


def test_infer_video_writes_numbered_pictures_and_their_times_when_transparency_is_asked_for(
    clip: Path, tmp_path: Path
) -> None:
    folder = infer_video(brightness, clip, tmp_path / "out", renderer("foreground"), "foreground").written
    names = [f"{number:06d}.png" for number in range(3)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "frames.ffconcat"]
    assert cv2.imread(str(folder / names[1]), cv2.IMREAD_UNCHANGED).shape == (32, 48, 4)
    version, *lines = (folder / "frames.ffconcat").read_text().splitlines()
    assert version == "ffconcat version 1.0"
    assert lines[:4] == ["file 000000.png", "duration 0.033000", "file 000001.png", "duration 0.100000"]
    with pytest.raises(DatasetError, match="is there already"):
        infer_video(brightness, clip, tmp_path / "out", renderer("foreground"), "foreground")


@pytest.mark.parametrize("kind", ["alpha", "foreground"])
def test_infer_video_writes_what_can_be_decoded_of_a_video_that_is_cut_off(kind: ResultKind, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mkv", noise(20), sound="libopus", sound_s=3)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    result = infer_video(brightness, source, tmp_path / "out", renderer(kind), kind)
    assert 5 <= result.frames <= 19
    assert result.problem is not None
    assert result.problem.endswith("cut off or damaged")
    is_video = kind == "alpha"
    assert (len(shown(result.written)) if is_video else len(list(result.written.glob("*.png")))) == result.frames


@pytest.mark.parametrize("kind", ["alpha", "foreground"])
def test_infer_video_leaves_nothing_when_it_fails_amid(kind: ResultKind, clip: Path, tmp_path: Path) -> None:
    calls = []

    def interrupted(image: Image) -> Alpha:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return brightness(image)

    with pytest.raises(KeyboardInterrupt):
        infer_video(interrupted, clip, tmp_path / "out", renderer(kind), kind)
    assert not list((tmp_path / "out").iterdir())


def test_infer_video_raises_before_it_writes_over_its_source(clip: Path, tmp_path: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(DatasetError, match="would be written over"):
        infer_video(brightness, clip, tmp_path, renderer("alpha"), "alpha")
    assert clip.read_bytes() == before


def test_infer_video_replaces_a_result_only_when_told_to(clip: Path, tmp_path: Path) -> None:
    infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha")
    with pytest.raises(DatasetError, match=r"clip\.mp4 is there already"):
        infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha")
    infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha", overwrite=True)
