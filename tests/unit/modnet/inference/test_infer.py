"""From files to files with a made-up network: sizes, names, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from modnet.configs import ResultKind
from modnet.data.images import Alpha, Image, read_image, read_matte, write_png
from modnet.errors import ConfigError, DatasetError
from modnet.inference.infer import infer_images, infer_video
from modnet.inference.results import renderer
from modnet.inference.video import VideoFrames, video_writer


def brightness(image: Image) -> Alpha:
    """What is bright is the person."""
    return image.mean(axis=2, dtype=np.float32) / np.float32(255)


def nonsense(image: Image) -> Alpha:
    return np.full(image.shape[:2], np.nan, np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(7, 5), (1, 1)]):
        write_png(folder / f"{number}.png", np.full((*size, 3), 51 * (number + 1), np.uint8))
    (folder / "notes.txt").write_text("no image")
    (folder / "._0.png").write_text("no image")
    (folder / "folder.png").mkdir()
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with video_writer(tmp_path / "clip.mp4", 10) as add:
        for level in (40, 200, 120):
            add(np.full((32, 48, 3), level, np.uint8))
    return tmp_path / "clip.mp4"


def test_infer_images_writes_the_alpha_of_each_image_at_its_size(photos: Path, tmp_path: Path) -> None:
    written = infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))
    assert written == [tmp_path / "out" / "0.png", tmp_path / "out" / "1.png"]
    assert [read_matte(path).shape for path in written] == [(7, 5), (1, 1)]
    assert np.unique(read_matte(written[0])).tolist() == [np.float32(0.2)]


def test_infer_images_writes_transparency_and_composites(photos: Path, tmp_path: Path) -> None:
    infer_images(brightness, photos / "0.png", tmp_path / "cut", renderer("foreground"))
    cut = cv2.imread(str(tmp_path / "cut" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert (cut.shape, np.unique(cut[..., 3]).tolist()) == ((7, 5, 4), [51])
    on_white = renderer("composite", np.full((1, 1, 3), 255, np.uint8))
    infer_images(brightness, photos, tmp_path / "white", on_white)
    assert read_image(tmp_path / "white" / "0.png").shape == (7, 5, 3)
    assert read_image(tmp_path / "white" / "0.png").min() > 200


@pytest.mark.parametrize(("kind", "background"), [("alpha", True), ("foreground", True), ("composite", False)])
def test_renderer_raises_when_the_background_does_not_go_with_the_result(kind: ResultKind, background: bool) -> None:
    with pytest.raises(ConfigError, match="needs a background"):
        renderer(kind, np.zeros((1, 1, 3), np.uint8) if background else None)


def test_infer_images_raises_and_names_the_file_when_one_cannot_be_read(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    with pytest.raises(DatasetError, match=r"broken\.jpg"):
        infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))
    assert all(path.suffix == ".png" for path in (tmp_path / "out").iterdir())


def test_infer_images_raises_before_it_writes_over_a_source(photos: Path) -> None:
    before = (photos / "0.png").read_bytes()
    with pytest.raises(DatasetError, match=r"0\.png is one of the sources and would be written over"):
        infer_images(brightness, photos, photos, renderer("alpha"))
    assert (photos / "0.png").read_bytes() == before


def test_infer_images_raises_when_two_would_become_one_file(photos: Path, tmp_path: Path) -> None:
    (photos / "0.jpg").write_bytes(b"whatever")
    with pytest.raises(DatasetError, match=r"images of equal name, whose mattes .* each other: 0\.jpg, 0\.png$"):
        infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))


def test_infer_images_names_the_first_of_many_of_equal_name(photos: Path, tmp_path: Path) -> None:
    for number in range(5):
        for suffix in ("jpg", "png"):
            (photos / f"{number}.{suffix}").write_bytes(b"whatever")
    with pytest.raises(DatasetError, match=r"other: 0\.jpg, 0\.png, 1\.jpg, 1\.png, 2\.jpg, 2\.png and 4 more$"):
        infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))


def test_infer_images_replaces_results_only_when_told_to(photos: Path, tmp_path: Path) -> None:
    (first, *_) = infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))
    before = first.read_bytes()
    with pytest.raises(DatasetError, match=r"0\.png and 1 more is there already: .* with --overwrite"):
        infer_images(brightness, photos, tmp_path / "out", renderer("foreground"))
    assert first.read_bytes() == before
    infer_images(brightness, photos, tmp_path / "out", renderer("foreground"), overwrite=True)
    assert first.read_bytes() != before


def test_infer_images_raises_and_names_the_file_when_the_network_gives_nonsense(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"0\.png: the predictor gave values from nan to nan"):
        infer_images(nonsense, photos, tmp_path / "out", renderer("alpha"))
    assert not list((tmp_path / "out").iterdir())


def test_infer_video_writes_a_video_of_same_size_rate_and_length(clip: Path, tmp_path: Path) -> None:
    written = infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha")
    mattes = VideoFrames(written)
    assert (mattes.fps, mattes.stated) == (10, 3)
    for level, matte in zip((40, 200, 120), mattes, strict=True):
        assert matte.shape == (32, 48, 3)
        np.testing.assert_allclose(matte, level, atol=12)  # what the codec loses, twice


def test_infer_video_replaces_a_result_only_when_told_to(clip: Path, tmp_path: Path) -> None:
    infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha")
    with pytest.raises(DatasetError, match=r"clip\.mp4 is there already"):
        infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha")
    infer_video(brightness, clip, tmp_path / "out", renderer("alpha"), "alpha", overwrite=True)


def test_infer_video_writes_numbered_pictures_when_transparency_is_asked_for(clip: Path, tmp_path: Path) -> None:
    folder = infer_video(brightness, clip, tmp_path / "out", renderer("foreground"), "foreground")
    assert sorted(path.name for path in folder.iterdir()) == ["000000.png", "000001.png", "000002.png"]
    assert cv2.imread(str(folder / "000001.png"), cv2.IMREAD_UNCHANGED).shape == (32, 48, 4)
    with pytest.raises(DatasetError, match="is there already"):
        infer_video(brightness, clip, tmp_path / "out", renderer("foreground"), "foreground")


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
