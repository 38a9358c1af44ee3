from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from modnet.data.images import read_image, write_png
from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import read_matte, read_pair

Array = NDArray[Any]


def random_image(height: int = 7, width: int = 5, dtype: Any = np.uint8, channels: tuple[int, ...] = (3,)) -> Array:
    largest = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, largest, (height, width, *channels), dtype=dtype, endpoint=True)


def encoded(image: Array, suffix: str, *options: int) -> bytes:
    """An image, grey or RGB or RGBA, in a file format."""
    swapped = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]
    return cv2.imencode(suffix, swapped, list(options))[1].tobytes()


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rotated_by_exif(content: bytes, orientation: int) -> bytes:
    """The JPEG or PNG with EXIF metadata that hold nothing but the orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    if content.startswith(b"\x89PNG"):
        return content[:33] + chunk(b"eXIf", tiff) + content[33:]  # behind the IHDR chunk
    segment = b"Exif\0\0" + tiff
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]


# Reading images


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".png", ()), (".bmp", ()), (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101))],
    ids=["png", "bmp", "lossless webp"],
)
def test_read_image_returns_rgb_values_when_file_is_lossless(
    tmp_path: Path, suffix: str, options: tuple[int, ...]
) -> None:
    image = random_image()
    path = saved(tmp_path / f"image{suffix}", encoded(image, suffix, *options))
    assert np.array_equal(read_image(path), image)


def test_read_image_repeats_grey_when_file_has_one_channel(tmp_path: Path) -> None:
    grey = random_image(channels=())
    image = read_image(saved(tmp_path / "grey.png", encoded(grey, ".png")))
    assert np.array_equal(image, np.stack([grey] * 3, axis=-1))


def test_read_image_drops_alpha_when_file_has_one(tmp_path: Path) -> None:
    image = random_image(channels=(4,))
    assert np.array_equal(read_image(saved(tmp_path / "rgba.png", encoded(image, ".png"))), image[..., :3])


def test_read_image_scales_to_8_bits_when_file_has_16(tmp_path: Path) -> None:
    image = random_image(dtype=np.uint16)
    read = read_image(saved(tmp_path / "deep.png", encoded(image, ".png")))
    assert read.dtype == np.uint8
    assert np.abs(read - image / 257.0).max() <= 1.0


def test_read_image_looks_colours_up_when_file_has_a_palette(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    content = png(header, (b"PLTE", bytes([10, 20, 30, 40, 50, 60])), (b"IDAT", zlib.compress(b"\0\1\0")))
    assert read_image(saved(tmp_path / "palette.png", content)).tolist() == [[[40, 50, 60], [10, 20, 30]]]


def test_read_image_applies_exif_rotation_when_file_has_one(tmp_path: Path) -> None:
    image = np.zeros((16, 32, 3), dtype=np.uint8)
    image[:, :16] = 255  # white on the left
    path = saved(tmp_path / "turned.jpg", rotated_by_exif(encoded(image, ".jpg"), 6))  # show turned right by 90 degrees
    turned = read_image(path)
    assert turned.shape == (32, 16, 3)
    assert turned[:14].min() > 240  # left has become top
    assert turned[18:].max() < 15


@pytest.mark.parametrize("kept", [2, 8, 12, 20, 25])
def test_read_image_reads_a_jpeg_whose_exif_is_cut_off(tmp_path: Path, kept: int) -> None:
    """Cameras and editors leave such; the pixels are whole."""
    plain, exif = encoded(random_image(), ".jpg"), b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01"[: 6 + kept]
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    without_jfif = plain[4 + struct.unpack(">H", plain[4:6])[0] :]  # then Pillow looks for the resolution in EXIF
    whole = read_image(saved(tmp_path / "plain.jpg", plain))
    assert np.array_equal(read_image(saved(tmp_path / "cut.jpg", plain[:2] + segment + without_jfif)), whole)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.9], ids=["empty", "2 %", "30 %", "90 %"])
def test_read_image_names_file_when_it_is_cut_off(
    tmp_path: Path, suffix: str, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    content = encoded(random_image(64, 64), suffix)
    path = saved(tmp_path / f"cut{suffix}", content[: int(len(content) * kept)])
    with pytest.raises(DatasetError, match=f"cut{suffix}"):
        read_image(path)
    assert not re.search(r"\[ *(WARN|ERROR):", capfd.readouterr().err)  # OpenCV's log; libpng has a line of its own


def test_read_image_names_file_when_it_is_damaged_inside(tmp_path: Path) -> None:
    content = bytearray(encoded(random_image(64, 64), ".png"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(DatasetError, match=r"damaged\.png"):
        read_image(saved(tmp_path / "damaged.png", bytes(content)))


@pytest.mark.parametrize("content", [b"GIF89a" + bytes(40), b"not an image at all", bytes(100)])
def test_read_image_names_formats_when_file_is_none_of_them(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(
        DatasetError, match=r"other\.png.*(neither PNG, JPEG, BMP, WebP, HEIC, AVIF, TIFF nor GIF|cut off)"
    ):
        read_image(saved(tmp_path / "other.png", content))


def test_read_image_names_path_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.png"):
        read_image(tmp_path / "absent.png")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", ()),
        (".jpg", ()),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".bmp", ()),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
    ],
    ids=["png", "jpeg", "progressive jpeg", "bmp", "lossy webp", "lossless webp"],
)
def test_read_image_refuses_file_when_its_header_has_one_pixel_too_many(
    tmp_path: Path, suffix: str, options: tuple[int, ...]
) -> None:
    path = saved(tmp_path / f"image{suffix}", encoded(random_image(33, 70), suffix, *options))
    assert read_image(path, max_pixels=33 * 70).shape == (33, 70, 3)
    with pytest.raises(DatasetError, match="70 × 33"):
        read_image(path, max_pixels=33 * 70 - 1)


def test_read_image_refuses_extended_webp_when_its_canvas_is_too_large(tmp_path: Path) -> None:
    transparent = random_image(33, 70, channels=(4,))
    path = saved(tmp_path / "extended.webp", encoded(transparent, ".webp", cv2.IMWRITE_WEBP_QUALITY, 80))
    assert path.read_bytes()[12:16] == b"VP8X"
    with pytest.raises(DatasetError, match="70 × 33"):
        read_image(path, max_pixels=33 * 70 - 1)


def test_read_image_refuses_bmp_when_its_header_is_no_known_one(tmp_path: Path) -> None:
    """Its first byte is that of the oldest header, whose sizes lie elsewhere and would pass for small ones."""
    content, more = encoded(random_image(33, 70), ".bmp"), 256 + 12 - 40
    longer = struct.pack("<II", struct.unpack("<I", content[10:14])[0] + more, 256 + 12)
    path = saved(tmp_path / "long.bmp", content[:10] + longer + content[18:54] + bytes(more) + content[54:])
    with pytest.raises(DatasetError, match=r"long\.bmp.*damaged: Unsupported BMP header type \(268\)"):
        read_image(path)


def test_read_image_reads_bmp_of_the_oldest_header_within_the_limit(tmp_path: Path) -> None:
    header = b"BM" + struct.pack("<IHHI", 26 + 3 * 8, 0, 0, 26) + struct.pack("<IHHHH", 12, 2, 3, 1, 24)
    path = saved(tmp_path / "oldest.bmp", header + 3 * bytes([3, 2, 1, 3, 2, 1, 0, 0]))
    assert read_image(path).tolist() == 3 * [2 * [[1, 2, 3]]]
    with pytest.raises(DatasetError, match="2 × 3 pixels, at most 5"):
        read_image(path, max_pixels=5)


def test_read_image_refuses_bomb_when_header_promises_gigapixels(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    with pytest.raises(DatasetError, match="100000 × 100000"):
        read_image(saved(tmp_path / "bomb.png", png(header, (b"IDAT", zlib.compress(bytes(1000))))))


def test_read_image_refuses_file_when_it_has_more_bytes_than_pixels_allow(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(2**20 + 801)
    with pytest.raises(DatasetError, match="bytes cannot be at most 100 pixels"):
        read_image(path, max_pixels=100)


# Mattes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "equal channels"])
def test_read_matte_divides_by_largest_value_of_its_type(tmp_path: Path, dtype: Any, channels: tuple[int, ...]) -> None:
    values = random_image(dtype=dtype, channels=())
    values[0, :2] = 0, np.iinfo(dtype).max
    stored = np.stack([values] * 3, axis=-1) if channels else values
    alpha = read_matte(saved(tmp_path / "matte.png", encoded(stored, ".png")))
    assert alpha.dtype == np.float32
    assert alpha.shape == values.shape
    assert (alpha[0, 0], alpha[0, 1]) == (0.0, 1.0)
    assert np.allclose(alpha, values / np.iinfo(dtype).max, atol=1e-7)


def test_read_matte_takes_opaque_transparency_but_refuses_any_other(tmp_path: Path) -> None:
    values = np.dstack([np.full((4, 4, 3), 100, np.uint8), np.full((4, 4), 255, np.uint8)])
    assert read_matte(saved(tmp_path / "opaque.png", encoded(values, ".png")))[0, 0] == np.float32(100 / 255)
    values[0, 0, 3] = 254
    with pytest.raises(DatasetError, match=r"clear.png.*transparency"):
        read_matte(saved(tmp_path / "clear.png", encoded(values, ".png")))


def test_read_matte_refuses_file_when_it_is_a_colour_picture(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"colour.png.*colour picture"):
        read_matte(saved(tmp_path / "colour.png", encoded(random_image(), ".png")))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "equal channels"])
def test_read_pair_applies_exif_rotation_to_image_and_matte(
    tmp_path: Path, suffix: str, channels: tuple[int, ...]
) -> None:
    picture = np.zeros((16, 32, *channels), np.uint8)
    picture[:, :16] = 255  # white on the left
    path = saved(tmp_path / f"turned{suffix}", rotated_by_exif(encoded(picture, suffix), 6))
    image, alpha = read_pair(path, path)
    assert alpha.shape == (32, 16)
    assert np.array_equal(alpha, image[..., 0].astype(np.float32) / np.float32(255))
    assert alpha[:14].min() > 0.9  # left has become top


def test_read_matte_refuses_transparency_when_file_is_rotated(tmp_path: Path) -> None:
    clear = rotated_by_exif(encoded(np.full((16, 32, 4), 100, np.uint8), ".png"), 6)
    with pytest.raises(DatasetError, match="transparency"):
        read_matte(saved(tmp_path / "clear.png", clear))


def test_read_pair_names_both_sizes_and_files_when_they_differ(tmp_path: Path) -> None:
    image = saved(tmp_path / "image.png", encoded(random_image(7, 5), ".png"))
    matte = saved(tmp_path / "matte.png", encoded(random_image(7, 6, channels=()), ".png"))
    with pytest.raises(DatasetError, match=r"image\.png is 5 × 7.*matte\.png is 6 × 7"):
        read_pair(image, matte)


def test_write_png_is_read_back_as_it_was(tmp_path: Path) -> None:
    grey, colour = random_image(9, 8, channels=()), random_image(9, 8)
    write_png(tmp_path / "grey.png", grey)
    write_png(tmp_path / "colour.png", colour)
    write_png(tmp_path / "clear.png", np.dstack([colour, grey]))
    assert np.array_equal(read_matte(tmp_path / "grey.png"), grey.astype(np.float32) / np.float32(255))
    assert np.array_equal(read_image(tmp_path / "colour.png"), colour)
    clear = cv2.imread(str(tmp_path / "clear.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(clear, np.dstack([colour[..., ::-1], grey]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clear.png", "colour.png", "grey.png"]


def test_write_png_names_path_when_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent"):
        write_png(tmp_path / "absent" / "alpha.png", np.zeros((2, 2), np.uint8))
