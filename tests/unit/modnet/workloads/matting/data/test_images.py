from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.data.images import (
    Protocol,
    normalise,
    prepare,
    read_image,
    read_matte,
    read_pair,
    resize,
    restore,
    write_png,
)

Array = NDArray[Any]
PROTOCOLS = get_args(Protocol)


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


def test_read_image_refuses_bmp_when_only_the_first_byte_of_its_header_size_is_that_of_16_bit_sizes(
    tmp_path: Path,
) -> None:
    content, more = encoded(random_image(33, 70), ".bmp"), 256 + 12 - 40
    longer = struct.pack("<II", struct.unpack("<I", content[10:14])[0] + more, 256 + 12)
    path = saved(tmp_path / "long.bmp", content[:10] + longer + content[18:54] + bytes(more) + content[54:])
    assert read_image(path).shape == (33, 70, 3)
    with pytest.raises(DatasetError, match="70 × 33"):
        read_image(path, max_pixels=33 * 70 - 1)


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


# Protocols


@pytest.mark.parametrize(
    ("protocol", "image_size", "input_size"),
    [
        ("seed", (600, 800), (512, 672)),  # both sides above: short 512, long int(682.67) floored
        ("seed", (800, 600), (672, 512)),
        ("seed", (300, 400), (512, 672)),  # both below
        ("seed", (500, 801), (480, 800)),  # 512 in between: kept, floored
        ("seed", (512, 512), (512, 512)),
        ("seed", (1, 1), (512, 512)),
        ("aspect", (600, 800), (512, 672)),  # 682.67 is nearer to 672 than to 704
        ("aspect", (825, 550), (768, 512)),
        ("aspect", (500, 801), (512, 832)),  # 820.2
        ("aspect", (512, 528), (512, 544)),  # half up
        ("aspect", (1, 1), (512, 512)),
        ("device-512", (600, 800), (512, 512)),
        ("device-512", (1, 3000), (512, 512)),
        ("device-512", (1, 1), (512, 512)),
        ("device-320", (600, 800), (320, 320)),
    ],
)
def test_prepare_gives_the_size_of_its_protocol(
    protocol: Protocol, image_size: tuple[int, int], input_size: tuple[int, int]
) -> None:
    prepared = prepare(np.zeros((*image_size, 3), np.uint8), protocol)
    assert prepared.pixels.shape == (1, 3, *input_size)
    assert prepared.pixels.dtype == torch.float32
    assert prepared.geometry.input_size == input_size
    assert restore(np.zeros(input_size, np.float32), prepared.geometry).shape == image_size


def test_prepare_and_restore_follow_the_seed_step_by_step() -> None:
    image = random_image(530, 700)
    normalised = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0 - 0.5) / 0.5
    wanted = interpolate(normalised, size=(512, 672), mode="area")  # int(700 / 530 * 512) = 676
    prepared = prepare(image, "seed")
    assert torch.allclose(prepared.pixels, wanted, atol=1e-6)
    alpha = torch.rand(1, 1, 512, 672, generator=torch.Generator().manual_seed(0))
    back = restore(alpha[0, 0].numpy(), prepared.geometry)
    assert np.array_equal(back, interpolate(alpha, size=(530, 700), mode="area")[0, 0].numpy())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [(600, 800), (301, 200), (90, 333)])
def test_restore_puts_a_matte_back_where_the_image_had_it(protocol: Protocol, size: tuple[int, int]) -> None:
    """A network that copies its input must give back the picture, unmoved and of its size."""
    y, x = np.mgrid[: size[0], : size[1]]
    alpha = (0.5 + 0.5 * np.sin(9 * y / size[0]) * np.sin(7 * x / size[1])).astype(np.float32)
    image = np.repeat(np.rint(alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    prepared = prepare(image, protocol)
    restored = restore(((prepared.pixels[0, 0] + 1) / 2).numpy(), prepared.geometry)
    assert restored.dtype == np.float32
    assert np.abs(restored - alpha).max() < 0.03


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [0, 51, 255])
def test_prepare_keeps_a_constant_image_constant_and_normalised(protocol: Protocol, value: int) -> None:
    prepared = prepare(np.full((530, 700, 3), value, np.uint8), protocol)
    (top, left), (height, width) = prepared.geometry.content_offset, prepared.geometry.content_size
    content = prepared.pixels[..., top : top + height, left : left + width]
    assert torch.allclose(content, torch.tensor(value / 127.5 - 1), atol=1e-6)


def test_prepare_keeps_the_order_of_colours() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 255
    for protocol in PROTOCOLS:
        pixels = prepare(image, protocol).pixels[0]
        assert pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].tolist() == [1.0, -1.0, -1.0]


def test_prepare_pads_with_mid_grey_when_protocol_is_device_512() -> None:
    prepared = prepare(np.full((300, 400, 3), 255, np.uint8), "device-512")
    assert prepared.geometry.content_size == (384, 512)
    assert prepared.geometry.content_offset == (64, 0)
    assert (prepared.pixels[..., :64, :] == 0).all()
    assert (prepared.pixels[..., 448:, :] == 0).all()
    assert (prepared.pixels[..., 64:448, :] == 1).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_restore_clips_when_the_network_overshoots(protocol: Protocol) -> None:
    geometry = prepare(random_image(40, 50), protocol).geometry
    assert (restore(np.full(geometry.input_size, 1.5, np.float32), geometry) == 1.0).all()
    assert (restore(np.full(geometry.input_size, -0.5, np.float32), geometry) == 0.0).all()


@pytest.mark.parametrize(("protocol", "size"), [("seed", (20, 600)), ("seed", (1, 100)), ("aspect", (1, 3000))])
def test_prepare_refuses_an_image_when_it_is_a_sliver(protocol: Protocol, size: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match=f"{size[1]} × {size[0]}.*too narrow"):
        prepare(np.zeros((*size, 3), np.uint8), protocol)


def test_prepare_names_the_protocols_when_it_knows_none_of_that_name() -> None:
    with pytest.raises(ConfigError, match=r"'square', allowed: seed, aspect, device-256"):
        prepare(random_image(), "square")  # type: ignore[arg-type]


def test_restore_names_both_sizes_when_alpha_has_another() -> None:
    geometry = prepare(random_image(40, 50), "device-512").geometry
    with pytest.raises(ValueError, match=r"\(512, 512\), got \(40, 50\)"):
        restore(np.zeros((40, 50), np.float32), geometry)


def test_resize_averages_when_shrinking_and_keeps_type() -> None:
    values = np.array([[0, 1000], [3000, 4000]], np.uint16)
    assert resize(values, 1, 1).tolist() == [[2000]]
    assert resize(values, 4, 4).dtype == np.uint16


def test_resize_interpolates_when_a_side_grows() -> None:
    assert resize(np.array([[0.0, 100.0]]), 1, 4).tolist() == [[0.0, 25.0, 75.0, 100.0]]


def test_normalise_maps_0_to_minus_1_and_255_to_1() -> None:
    pixels = normalise(np.array([[[0, 255, 51]]], np.uint8))
    assert pixels.shape == (3, 1, 1)
    assert torch.allclose(pixels.flatten(), torch.tensor([-1.0, 1.0, -0.6]))
