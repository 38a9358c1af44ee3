"""What an image file hides behind transparency comes into no result."""

from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from modnet.data.images import read_image
from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.predict.composition import cutout
from modnet.workloads.matting.predict.infer import infer_images, within_opacity
from modnet.workloads.matting.predict.results import Render, renderer

ALL = np.ones((8, 16), np.float32)
OPACITY = np.zeros((8, 16), np.uint8)
OPACITY[:, 4:], OPACITY[:, 8:] = 51, 255
COLOURS = np.random.default_rng(0).integers(1, 256, (8, 16, 3), np.uint8)


def with_opacity(mode: str) -> Image.Image:
    picture = Image.fromarray(COLOURS).convert(mode.removesuffix("A"))
    picture.putalpha(Image.fromarray(OPACITY))
    return picture


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_within_opacity_multiplies_by_the_images_own(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with_opacity(mode).save(path, lossless=True)
    assert np.allclose(within_opacity(ALL / 2, path), OPACITY / 255 / 2)


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_within_opacity_reads_what_phones_write(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pillow_heif.register_heif_opener()
    with_opacity("RGBA").resize((160, 80), Image.Resampling.NEAREST).save(path, quality=95)
    large = np.kron(OPACITY, np.ones((10, 10))) / 255
    assert np.abs(within_opacity(np.ones((80, 160), np.float32), path) - large).mean() < 0.02


def test_within_opacity_is_upright_as_the_image_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned right by 90 degrees
    with_opacity("RGBA").save(tmp_path / "a.png", exif=exif)
    alpha = within_opacity(np.ones(read_image(tmp_path / "a.png").shape[:2], np.float32), tmp_path / "a.png")
    assert np.allclose(alpha, np.rot90(OPACITY / 255, -1))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_within_opacity_is_not_turned_where_the_image_is_not(tmp_path: Path, suffix: str) -> None:
    """Only its XMP asks for it, which neither OpenCV nor a browser heeds."""
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    path = tmp_path / f"a{suffix}"
    with_opacity("RGBA").save(path, lossless=True, pnginfo=text, xmp=xmp.encode())
    assert read_image(path).shape[:2] == OPACITY.shape
    assert np.allclose(within_opacity(ALL, path), OPACITY / 255)


def test_within_opacity_takes_the_transparent_colour_of_a_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "a.png", transparency=0)
    assert within_opacity(np.ones((1, 3), np.float32), tmp_path / "a.png").tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_within_opacity_gives_the_same_alpha_when_the_image_has_none(tmp_path: Path, name: str) -> None:
    Image.fromarray(COLOURS).save(tmp_path / name)
    assert within_opacity(ALL, tmp_path / name) is ALL


def test_within_opacity_names_a_file_that_is_cut_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:9000])
    with pytest.raises(DatasetError, match=r"a\.png.*cut off or damaged"):
        within_opacity(np.ones((64, 64), np.float32), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("render", "background"), [(cutout, 0), (renderer("composite", np.full((1, 1, 3), 7, np.uint8)), 7)]
)
def test_infer_images_shows_nothing_of_what_is_transparent(tmp_path: Path, render: Render, background: int) -> None:
    (tmp_path / "in").mkdir()
    with_opacity("RGBA").save(tmp_path / "in" / "a.png")

    def everything(image: np.ndarray) -> Alpha:
        return np.ones(image.shape[:2], np.float32)

    infer_images(everything, tmp_path / "in", tmp_path / "out", render)
    result = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert (result[OPACITY == 0] == background).all()
    assert np.array_equal(result[OPACITY == 255][:, :3], COLOURS[OPACITY == 255])
