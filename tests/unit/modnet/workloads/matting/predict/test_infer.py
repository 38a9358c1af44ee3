"""From images to images with a made-up network: sizes, names, what is left out and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image as Picture

from modnet.data.images import Image, read_image, write_png
from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.data.images import Alpha, read_matte
from modnet.workloads.matting.names import ResultKind
from modnet.workloads.matting.predict.infer import infer_images
from modnet.workloads.matting.predict.predictors import Predictor
from modnet.workloads.matting.predict.results import renderer


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


def test_infer_images_writes_the_alpha_of_each_image_at_its_size(photos: Path, tmp_path: Path) -> None:
    results = infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))
    written = results.written
    assert written == (tmp_path / "out" / "0.png", tmp_path / "out" / "1.png")
    assert (results.unreadable, results.left_out) == ({}, ("notes.txt",))
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


def test_infer_images_draws_the_rest_of_a_folder_and_names_what_cannot_be_read(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "00.jpg").write_bytes(b"\xff\xd8 cut off")
    write_png(photos / "2.png", np.zeros((1, 600, 3), np.uint8))
    network = Predictor(lambda pixels: np.ones_like(pixels[:, :1]), "aspect")  # which refuses slivers
    results = infer_images(network, photos, tmp_path / "out", renderer("alpha"))
    assert [path.name for path in results.written] == ["0.png", "1.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]
    assert list(results.unreadable) == ["00.jpg", "2.png"]
    assert "600 × 1 (width × height) is too narrow" in results.unreadable["2.png"]
    assert "00.jpg" in caplog.text  # at once, not only at the end


def test_infer_images_raises_and_names_the_file_when_none_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    for source in (tmp_path, tmp_path / "broken.jpg"):
        with pytest.raises(DatasetError, match=r"broken\.jpg"):
            infer_images(brightness, source, tmp_path / "out", renderer("alpha"))
        assert not list((tmp_path / "out").iterdir())


def test_infer_images_names_the_other_files_when_a_folder_holds_no_image(tmp_path: Path) -> None:
    (tmp_path / "IMG.CR3").write_bytes(b"a negative")
    with pytest.raises(DatasetError, match=r"holds no image \(\.avif, .*; other files: 1 \(IMG\.CR3\)"):
        infer_images(brightness, tmp_path, tmp_path / "out", renderer("alpha"))


def test_infer_images_raises_before_it_writes_over_a_source(photos: Path) -> None:
    before = (photos / "0.png").read_bytes()
    with pytest.raises(DatasetError, match=r"0\.png is one of the sources and would be written over"):
        infer_images(brightness, photos, photos, renderer("alpha"))
    assert (photos / "0.png").read_bytes() == before


def test_infer_images_reads_every_format_and_keeps_images_of_one_stem_apart(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    photos = tmp_path / "photos"
    photos.mkdir()
    names = ["IMG.HEIC", "IMG.JPG", "IMG.avif", "IMG.jfif", "IMG.tif"]
    for number, name in enumerate(names):
        kind = {"JPG": "jpeg", "jfif": "jpeg", "HEIC": "heif", "tif": "tiff"}.get(name[4:], name[4:])
        Picture.new("RGB", (40, 30), (51 * number,) * 3).save(photos / name, kind)
    results = infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))
    assert [path.name for path in results.written] == [f"{name}.png" for name in names]
    for number, path in enumerate(results.written):
        assert np.abs(read_matte(path) - number / 5).max() < 0.02


def test_infer_images_raises_when_two_would_become_one_file(photos: Path, tmp_path: Path) -> None:
    (photos / "0.jpg").write_bytes(b"whatever")
    (photos / "0.jpg.bmp").write_bytes(b"whatever")
    with pytest.raises(DatasetError, match=r"would overwrite each other as 0\.jpg\.png: rename them"):
        infer_images(brightness, photos, tmp_path / "out", renderer("alpha"))
    assert not (tmp_path / "out").exists()


def test_infer_images_replaces_results_only_when_told_to(photos: Path, tmp_path: Path) -> None:
    (first, *_) = infer_images(brightness, photos, tmp_path / "out", renderer("alpha")).written
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
