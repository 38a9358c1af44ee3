"""Reading, sizing and normalising images and mattes: the only preprocessing in the product.

An *image* is uint8 (H, W, 3), RGB, 0 to 255. An *alpha* is float32 (H, W), 0 (background) to 1 (person); as a
`Matte16` it is uint16, 0 to 65535.
The network reads `pixels`: float32 (1, 3, h, w), RGB, `value / 127.5 - 1`, so in [-1, 1]; h and w are multiples of 32.

A *protocol* says how an image becomes `pixels` and how the predicted alpha gets back to the size of the image:

seed
    As the published MODNet-ModelCompression evaluates: when the long side is below 512 or the short side above 512,
    the short side becomes 512 and the other `floor(long / short * 512)`, otherwise the size stays. Then both sides are
    floored to a multiple of 32. Normalised first, then resized by torch's "area" (adaptive average); back likewise.
aspect
    The short side becomes 512, the long side keeps the aspect ratio, rounded (half up) to the nearest multiple of 32.
    OpenCV's area interpolation when no side grows, otherwise bilinear, on the uint8 values; back by bilinear.
device-512 (and -256, -320, -384, -448, -640)
    Letterbox for a network of fixed input: the long side becomes 512, the short side keeps the aspect ratio, rounded
    (half up), at least 1. Interpolated as in `aspect`, then centred (the odd pixel goes below and right) in
    512 × 512 whose padding is 0 after normalisation (mid-grey). Back: the padding is cut off, then bilinear.

Every way back ends with clipping to [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from modnet.errors import ConfigError, DatasetError
from modnet.files import write_atomically
from modnet.protocols import STRIDE, DeviceProtocol, Protocol, device_side
from modnet.workloads.matting.data.colour_profile import CMYK, GRAY, needing_pillow, space_of, to_srgb
from modnet.workloads.matting.data.other_formats import read_other
from modnet.workloads.matting.data.pixel_limit import pixel_limit, too_many_pixels

Image = NDArray[np.uint8]
Alpha = NDArray[np.float32]
Matte16 = NDArray[np.uint16]

_Value = TypeVar("_Value", bound=np.generic)

cv2.utils.logging.setLogLevel(0)  # silent: what it says of a damaged file is raised here, with the file's name

SIDE = 512
MAX_INPUT_PIXELS = 2**24  # 32 times 512 × 1024: beyond it, a sliver was blown up

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM"


def read_image(path: Path, *, max_pixels: int | None = None) -> Image:
    """Reads a PNG, JPEG, BMP, WebP, HEIC, AVIF, TIFF or GIF file as uint8 (H, W, 3), RGB in sRGB.

    What a file holds is seen in its bytes, not in its name. Grey is repeated, an alpha channel is dropped, 16 bits are
    scaled to 8, a palette is looked up, the EXIF rotation is applied and a colour profile is converted from. Of an
    animation it is the first picture.

    Args:
        path: the file.
        max_pixels: refused beyond; by default `pixel_limit`.

    Raises:
        DatasetError: missing, empty, cut off, another format, or more than `max_pixels`; names the file.
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    data = _read_bytes(path, limit)
    if _size_in_header(data) is None:
        return read_other(data, path, limit)
    _check_size(data, path, limit)
    image, profile = _decode_image(data, path)
    if profile is None:
        return image
    if space_of(profile) == CMYK:  # whose four inks OpenCV has mixed without it
        return read_other(data, path, limit)
    try:
        from PIL import Image as Pillow
    except ImportError as error:
        raise needing_pillow(path, "has a colour profile") from error
    is_grey = space_of(profile) == GRAY and np.array_equal(image[..., 0], image[..., 1])
    return np.array(to_srgb(Pillow.fromarray(image[..., 0] if is_grey else image), profile, path))


def read_matte(path: Path, *, max_pixels: int | None = None) -> Alpha:
    """Reads an 8- or 16-bit matte as float32 (H, W) in [0, 1], divided once by the largest value of its type.

    It is a PNG, JPEG, BMP or WebP. Its numbers are no colours: a colour profile is left out.

    Raises:
        DatasetError: as `read_image`; or it is a colour picture or has transparency, so that it is unclear which
            numbers are the matte.
    """
    values = _matte_values(path, max_pixels)
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)


def read_matte16(path: Path, *, max_pixels: int | None = None) -> Matte16:
    """Reads a matte as uint16 (H, W), 0 to 65535: half the memory of `read_matte`, and 0 and 1 survive resizing.

    Raises:
        DatasetError: as `read_matte`.
    """
    values = _matte_values(path, max_pixels)
    if values.dtype == np.uint16:
        return cast(Matte16, values)
    widened = values.astype(np.uint16)
    widened *= 257  # 255 · 257 = 65535; in place, as a matte may be large
    return widened


def _matte_values(path: Path, max_pixels: int | None) -> NDArray[Any]:
    """A matte as its file has it: uint8 or uint16 (H, W)."""
    limit = pixel_limit() if max_pixels is None else max_pixels
    data = _read_bytes(path, limit)
    _check_size(data, path, limit)
    values = _decode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH, path)  # rotated by EXIF, as an image is
    if values.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"matte {path}: wanted 8 or 16 bits per value, got {values.dtype}")
    if values.ndim == 3:
        whole = _decode(data, cv2.IMREAD_UNCHANGED, path)  # not rotated, but with its transparency
        if whole.shape[2] == 4 and whole[..., 3].min() < np.iinfo(whole.dtype).max:
            raise DatasetError(f"matte {path}: wanted grey or three equal channels, got a transparency channel as well")
        if not (np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(values[..., 0], values[..., 2])):
            raise DatasetError(f"matte {path}: wanted grey or three equal channels, got a colour picture")
        values = values[..., 0]
    return values


def read_pair(image_path: Path, matte_path: Path, *, max_pixels: int | None = None) -> tuple[Image, Alpha]:
    """Reads an image and its matte, which must have the same size.

    Raises:
        DatasetError: one of them cannot be read, or their sizes differ; names both files.
    """
    image, alpha = read_image(image_path, max_pixels=max_pixels), read_matte(matte_path, max_pixels=max_pixels)
    check_same_size(image_path, image.shape[:2], matte_path, alpha.shape)
    return image, alpha


def check_same_size(
    image_path: Path, image_size: tuple[int, ...], matte_path: Path, matte_size: tuple[int, ...]
) -> None:
    """Refuses an image and a matte whose sizes, (H, W), differ.

    Raises:
        DatasetError: they do; names both files.
    """
    if image_size != matte_size:
        sizes = [f"{width} × {height}" for height, width in (image_size, matte_size)]
        raise DatasetError(
            f"image {image_path} is {sizes[0]}, but its matte {matte_path} is {sizes[1]} (width × height)"
        )


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Writes a picture, uint8 grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4); the file appears whole or not at all.

    Raises:
        DatasetError: the file cannot be written.
    """
    if picture.ndim == 3:
        to_opencv = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        picture = cv2.cvtColor(picture, to_opencv).astype(np.uint8, copy=False)
    _, encoded = cv2.imencode(".png", picture)
    try:
        write_atomically(path, encoded.tobytes())
    except OSError as error:
        raise DatasetError(f"image {path} cannot be written: {error}") from error


@dataclass(frozen=True)
class Geometry:
    """How an image was brought to the network, as `restore` needs it; every pair is (height, width).

    Attributes:
        image_size: size of the original image.
        input_size: size of what the network reads.
        content_size: size of the image within the input; smaller than it where there is padding.
        content_offset: first row and column of the image within the input.
    """

    protocol: Protocol
    image_size: tuple[int, int]
    input_size: tuple[int, int]
    content_size: tuple[int, int]
    content_offset: tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """What the network reads: `pixels` float32 (1, 3, h, w) in [-1, 1], RGB, and the way back."""

    pixels: torch.Tensor
    geometry: Geometry


def prepare(image: Image, protocol: Protocol) -> Prepared:
    """Sizes and normalises an image, uint8 (H, W, 3) RGB, by one of the protocols of this module.

    Raises:
        ConfigError: unknown protocol.
        DatasetError: the image is so narrow that the network could not read it, or only at an absurd size.
    """
    geometry = input_geometry(image.shape[0], image.shape[1], protocol)
    if protocol == "seed":
        pixels = interpolate(normalise(image)[None], size=geometry.input_size, mode="area")
        return Prepared(pixels, geometry)
    (top, left), (height, width) = geometry.content_offset, geometry.content_size
    pixels = torch.zeros((1, 3, *geometry.input_size), dtype=torch.float32)
    pixels[0, :, top : top + height, left : left + width] = normalise(resize(image, height, width))
    return Prepared(pixels, geometry)


def restore(alpha: Alpha, geometry: Geometry) -> Alpha:
    """Brings a predicted alpha, float (h, w), to the size of the original image: float32 (H, W), clipped to [0, 1].

    Raises:
        ValueError: alpha does not have the size that the network read.
    """
    if alpha.shape != geometry.input_size:
        raise ValueError(f"wanted an alpha of (h, w) = {geometry.input_size}, got {alpha.shape}")
    if geometry.protocol == "seed":
        source = torch.from_numpy(np.ascontiguousarray(alpha, dtype=np.float32))
        restored: Alpha = interpolate(source[None, None], size=geometry.image_size, mode="area")[0, 0].numpy()
    else:
        (top, left), (height, width) = geometry.content_offset, geometry.content_size
        content = np.ascontiguousarray(alpha[top : top + height, left : left + width], dtype=np.float32)
        restored = cv2.resize(content, geometry.image_size[::-1], interpolation=cv2.INTER_LINEAR).astype(
            np.float32, copy=False
        )
    return np.clip(restored, 0.0, 1.0)


def resize(array: NDArray[_Value], height: int, width: int) -> NDArray[_Value]:
    """Resizes (H, W) or (H, W, C) of any OpenCV type: averages when no side grows, otherwise bilinear."""
    shrinks = height <= array.shape[0] and width <= array.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(NDArray[_Value], cv2.resize(cast(Any, array), (width, height), interpolation=method))


def normalise(image: Image) -> torch.Tensor:
    """The image, uint8 (H, W, 3), as float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(127.5).sub_(1.0)


def input_geometry(height: int, width: int, protocol: Protocol) -> Geometry:
    """How `prepare` brings an image of this size to the network.

    Raises:
        ConfigError, DatasetError: as `prepare`.
    """
    if protocol == "seed":
        content = _seed_size(height, width)
    elif protocol == "aspect":
        scale = SIDE / min(height, width)
        content = (_nearest(height * scale, STRIDE), _nearest(width * scale, STRIDE))
    elif protocol in get_args(DeviceProtocol):
        scale = device_side(protocol) / max(height, width)
        content = (_nearest(height * scale, 1), _nearest(width * scale, 1))
    else:
        raise ConfigError(f"preprocessing protocol: got {protocol!r}, allowed: {', '.join(get_args(Protocol))}")
    input_size = (device_side(protocol),) * 2 if protocol in get_args(DeviceProtocol) else content
    if min(content) < 1 or content[0] * content[1] > MAX_INPUT_PIXELS:
        raise DatasetError(
            f"an image of {width} × {height} (width × height) is too narrow for protocol {protocol!r}: "
            f"the network would read {content[1]} × {content[0]}"
        )
    offset = ((input_size[0] - content[0]) // 2, (input_size[1] - content[1]) // 2)
    return Geometry(protocol, (height, width), input_size, content, offset)


def _seed_size(height: int, width: int) -> tuple[int, int]:
    short, long = min(height, width), max(height, width)
    if long < SIDE or short > SIDE:
        short, long = SIDE, int(long / short * SIDE)
    short, long = short // STRIDE * STRIDE, long // STRIDE * STRIDE
    return (short, long) if height <= width else (long, short)


def _nearest(value: float, multiple: int) -> int:
    """The nearest positive multiple, half up."""
    return max(multiple, int(value / multiple + 0.5) * multiple)


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    """The file's content, unless there is too much of it for `max_pixels`."""
    max_bytes = 8 * max_pixels + 2**20  # four channels of 16 bits, uncompressed, and metadata
    try:
        size_bytes = path.stat().st_size
        if size_bytes > max_bytes:
            raise DatasetError(f"image {path}: {size_bytes} bytes cannot be at most {max_pixels} pixels, the limit")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"image {path} cannot be read: {error.strerror}") from error


def _check_size(data: bytes, path: Path, max_pixels: int) -> None:
    """Refuses what has no known header, or one that states too many pixels."""
    size = _size_in_header(data)
    if size is None:
        raise DatasetError(f"image {path} ({len(data)} bytes): empty, cut off, or neither PNG, JPEG, BMP nor WebP")
    if size[0] * size[1] > max_pixels:
        raise too_many_pixels(path, *size, max_pixels)


def _decode_image(data: bytes, path: Path) -> tuple[Image, bytes | None]:
    """An image, RGB, and its colour profile."""
    with _naming(path):
        decoded, kinds, metadata = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    found = dict(zip(np.ravel(kinds).tolist(), metadata, strict=True))
    profile = found.get(cv2.IMAGE_METADATA_ICCP)
    return _whole(decoded, data, path).astype(np.uint8, copy=False), None if profile is None else profile.tobytes()


def _decode(data: bytes, flags: int, path: Path) -> NDArray[Any]:
    with _naming(path):
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    return _whole(decoded, data, path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except cv2.error as error:
        raise DatasetError(f"image {path} cannot be decoded: {error.err}") from error


def _whole(decoded: Any, data: bytes, path: Path) -> NDArray[Any]:
    if decoded is None:  # what OpenCV answers to a file that is cut off; its stubs do not say so
        raise DatasetError(f"image {path} ({len(data)} bytes): cut off or damaged")
    return cast(NDArray[Any], decoded)


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    """(height, width) as the file's header states them; None when there is no such header."""
    if data.startswith(_PNG) and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data.startswith(_JPEG):
        return _jpeg_size(data)
    if data.startswith(_BMP) and len(data) >= 26:
        if int.from_bytes(data[14:18], "little") == 12:  # the OS/2 header: 16-bit sizes
            return int.from_bytes(data[20:22], "little"), int.from_bytes(data[18:20], "little")
        # The height is negative where the rows run downwards.
        return abs(int.from_bytes(data[22:26], "little", signed=True)), int.from_bytes(data[18:22], "little")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) from the start-of-frame segment (ITU-T T.81, B.2.2)."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            fields = data[position + 5 : position + 9]
            return int.from_bytes(fields[:2], "big"), int.from_bytes(fields[2:], "big")
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) from the first chunk (RFC 9649, 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF
    return None
