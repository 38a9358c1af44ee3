"""What OpenCV does not read, and colours as their profile means them; what a machine without pillow-heif does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

from modnet.data.images import read_image
from modnet.data.pixel_limit import LEAST_LIMIT, pixel_limit
from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import read_matte
from tests.unit.modnet.workloads.matting.data.profiles import ADOBE_RGB, DISPLAY_P3, grey_profile, in_srgb, rgb_profile

FORMATS = ("AVIF", "GIF", "HEIF", "TIFF")

pillow_heif.register_heif_opener()


def patches() -> NDArray[np.uint8]:
    """Squares of 16 pixels, which survive any codec: mid tones, as clipping would hide what a profile does."""
    colours = np.array(
        [[200, 120, 100], [90, 160, 110], [100, 110, 190], [230, 200, 180], [60, 60, 60], [128, 90, 140]]
    )
    return np.kron(colours.reshape(2, 3, 3), np.ones((16, 16, 1))).astype(np.uint8)


def saved(path: Path, image: NDArray[np.generic] | Pillow.Image, kind: str, **options: object) -> Path:
    picture = image if isinstance(image, Pillow.Image) else Pillow.fromarray(image)
    if kind in ("JPEG", "WEBP", "AVIF", "HEIF"):
        options = {"quality": 98, **options}
    picture.save(path, kind, **options)
    return path


def middles(image: NDArray[np.generic]) -> NDArray[np.int_]:
    return image[8::16, 8::16].astype(int)


@pytest.mark.parametrize("kind", FORMATS)
def test_read_image_reads_what_opencv_does_not(kind: str, tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "image.jpg", patches(), kind))  # whatever its name says
    assert (image.dtype, image.shape) == (np.uint8, (32, 48, 3))
    np.testing.assert_allclose(middles(image), middles(patches()), atol=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize(("primaries", "gamma"), [(DISPLAY_P3, None), (ADOBE_RGB, 2.19921875)], ids=["p3", "adobe"])
def test_read_image_converts_a_profile_to_srgb(
    kind: str, primaries: tuple[tuple[float, ...], ...], gamma: float | None, tmp_path: Path
) -> None:
    path = saved(tmp_path / "image", patches(), kind, icc_profile=rgb_profile(primaries, gamma))
    wanted = in_srgb(patches(), primaries, gamma)
    assert np.abs(middles(wanted) - middles(patches())).max() > 10  # so that leaving the profile out would show
    np.testing.assert_allclose(middles(read_image(path)), middles(wanted), atol=4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_read_image_keeps_every_bit_when_the_profile_is_srgb(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = read_image(saved(tmp_path / "plain", noise, kind))
    assert np.array_equal(read_image(saved(tmp_path / "srgb", noise, kind, icc_profile=srgb)), plain)


def test_read_image_converts_a_profile_of_grey_and_turns_the_image(tmp_path: Path) -> None:
    grey = np.array([[0, 100], [200, 255]], np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Pillow.Exif()
    exif[0x0112] = 6  # show turned right by 90 degrees
    path = saved(tmp_path / "grey.jpg", grey, "JPEG", icc_profile=grey_profile(1.0), exif=exif)
    linear = np.rot90(grey, -1)[4::8, 4::8] / 255
    wanted = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(read_image(path)[4::8, 4::8], np.repeat(wanted[..., None], 3, 2), atol=3)


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all", rgb_profile(DISPLAY_P3, None)[:200], grey_profile(1.0), bytes(16) + b"CMYK" + bytes(200)],
    ids=["text", "cut off", "of grey", "of inks"],
)
def test_read_image_takes_a_useless_profile_for_srgb_and_says_so(
    profile: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(tmp_path / "image.jpg", patches(), "JPEG", icc_profile=profile)
    np.testing.assert_allclose(middles(read_image(path)), middles(patches()), atol=3)
    assert f"image {path}: its colour profile " in caplog.text


def test_read_matte_leaves_a_profile_out(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = saved(tmp_path / "matte.png", grey, "PNG", icc_profile=grey_profile(1.0))
    assert np.array_equal(read_matte(path), grey.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("kind", ["TIFF", "HEIF", "AVIF"])
def test_read_image_applies_the_rotation_of_other_formats(kind: str, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "turned", patches(), kind, exif=exif.tobytes())
    np.testing.assert_allclose(middles(read_image(path)), middles(np.rot90(patches(), -1)), atol=3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_read_image_reads_a_tiff_of_every_mode(mode: str, tmp_path: Path) -> None:
    picture = Pillow.fromarray(patches())
    grey = np.asarray(picture.convert("L"))
    if mode == "I;16":
        read = read_image(saved(tmp_path / "image.tif", grey.astype(np.uint16) * 257, "TIFF"))
    else:
        read = read_image(saved(tmp_path / "image.tif", picture.convert(mode), "TIFF"))
    wanted = np.asarray(picture.convert(mode).convert("RGB")) if mode != "I;16" else np.stack([grey] * 3, -1)
    np.testing.assert_allclose(read.astype(int), wanted, atol=1)


def test_read_image_reads_a_tiff_of_16_bits_a_colour(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.tif"), patches()[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "image.tif"), patches())


def test_read_image_reads_the_first_of_several_pictures_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = [Pillow.fromarray(255 - patches())]
    path = saved(tmp_path / "moving.gif", patches(), "GIF", save_all=True, append_images=others)
    assert np.array_equal(read_image(path), patches())
    assert f"image {path} holds 2 pictures" in caplog.text


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9], ids=["empty", "2 %", "50 %", "90 %"])
def test_read_image_names_the_file_when_it_is_cut_off(kind: str, kept: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / "cut", noise, kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DatasetError, match=f"image {path}"):
        read_image(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_read_image_refuses_other_formats_with_one_pixel_too_many(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "image", patches(), kind)
    assert read_image(path, max_pixels=32 * 48).shape == (32, 48, 3)
    with pytest.raises(DatasetError, match="48 × 32 pixels, at most 1535"):
        read_image(path, max_pixels=32 * 48 - 1)


def test_read_image_refuses_numbers_that_are_no_colours_and_negatives(tmp_path: Path) -> None:
    path = saved(tmp_path / "depth.tif", np.zeros((4, 4), np.float32), "TIFF")
    with pytest.raises(DatasetError, match=r"depth\.tif: wanted colours or grey of 8 or 16 bits, got Pillow's mode F"):
        read_image(path)
    path = saved(tmp_path / "IMG.DNG", patches(), "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(DatasetError, match=r"IMG\.DNG: a camera's negative"):
        read_image(path)


def test_read_image_reads_a_photograph_of_64_megapixels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "phone.jpg"), np.full((6936, 9248), 90, np.uint8))
    assert read_image(tmp_path / "phone.jpg").shape == (6936, 9248, 3)


@pytest.mark.parametrize(("name", "content"), [("memory.max", "68719476736\n"), ("memory.max", "max\n"), ("other", "")])
def test_pixel_limit_follows_the_memory_of_the_container(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    limit = pixel_limit(tmp_path)
    whole = pixel_limit(tmp_path / "no container")
    assert limit == (min(2**30, whole) if content.startswith("6") else whole) >= LEAST_LIMIT
    (tmp_path / "memory.max").write_text("1000000")
    assert pixel_limit.__wrapped__(tmp_path) == LEAST_LIMIT


def test_read_image_does_without_pillow_heif_where_no_image_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = saved(tmp_path / "plain.jpg", patches(), "JPEG")
    heic = saved(tmp_path / "image.heic", patches(), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    assert read_image(plain).shape == (32, 48, 3)
    with pytest.raises(DatasetError, match=r"image\.heic is HEIC or AVIF, which needs pillow-heif: pip install"):
        read_image(heic)


def test_read_image_names_the_formats_also_where_pillow_heif_was_never_imported(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    program = (
        "import sys\nfor name in ('pillow_heif', 'av'): sys.modules[name] = None\n"
        "import pathlib, tasks.training_run, modnet.data.images as images\n"
        "try: images.read_image(pathlib.Path(sys.argv[1]))\n"
        "except images.DatasetError as error: sys.exit(f'refused: {error}')"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "text.jpg")]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[6], capture_output=True, text=True)
    assert done.stderr.startswith(f"refused: image {tmp_path / 'text.jpg'} (10 bytes): empty, cut off, or neither PNG,")


def test_read_image_says_nothing_of_the_pictures_behind_a_photograph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Phones put a preview or a map of brightness there; Pillow gives such a JPEG another name."""
    others = [Pillow.fromarray(255 - patches())]
    path = saved(tmp_path / "phone.jpg", patches(), "MPO", save_all=True, append_images=others)
    plain = saved(tmp_path / "plain.jpg", patches(), "JPEG", quality=75)
    assert np.array_equal(read_image(path), read_image(plain))
    assert caplog.text == ""
