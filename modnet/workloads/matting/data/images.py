"""Reading and writing images and mattes.

An *image* is uint8 (H, W, 3), RGB, 0 to 255. An *alpha* is float32 (H, W), 0 (background) to 1 (person); as a
`Matte16` it is uint16, 0 to 65535.
"""

import logging
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from PIL.Image import Image as Picture
from PIL.ImageFile import ImageFile

from modnet.errors import DatasetError
from modnet.files import write_atomically
from modnet.workloads.matting.data.colour_profile import CMYK, GRAY, space_of, to_srgb
from modnet.workloads.matting.data.headers import OTHER_FORMATS, PLAIN_FORMATS, opened_picture, read_bytes
from modnet.workloads.matting.data.pixel_limit import pixel_limit

Image = NDArray[np.uint8]
Alpha = NDArray[np.float32]
Matte16 = NDArray[np.uint16]

logger = logging.getLogger(__name__)

# By these Pillow turns a picture as well, OpenCV and browsers do not.
_UNHEEDED = ("xmp", "XML:com.adobe.xmp", "Raw profile type exif")

cv2.utils.logging.setLogLevel(0)  # silent: what it says of a damaged file is raised here, with the file's name


def read_image(path: Path, *, max_pixels: int | None = None) -> Image:
    """Reads a PNG, JPEG, BMP, WebP, HEIC, AVIF, TIFF or GIF file as uint8 (H, W, 3), RGB in sRGB.

    What a file holds is seen in its bytes, not in its name. Grey is repeated, an alpha channel is dropped, 16 bits are
    scaled to 8, a palette is looked up, the EXIF rotation is applied and a colour profile is converted from. Of an
    animation it is the first picture.

    Raises:
        DatasetError: missing, empty, cut off, another format, or more than `max_pixels`, by default `pixel_limit`.
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    data = read_bytes(path, limit)
    with opened_picture(data, path, limit) as opened:
        profile = opened.info.get("icc_profile")
        if opened.format in OTHER_FORMATS or (profile and space_of(profile) == CMYK):  # inks that OpenCV would mix
            if (count := getattr(opened, "n_frames", 1)) > 1:
                logger.warning("image %s holds %d pictures; only one of them is read", path, count)
            picture = _in_8_bits(upright(opened), path)
        else:  # the same bits as Pillow's, in less time and memory
            image = _decode(data, cv2.IMREAD_COLOR_RGB, path)
            if not profile:
                return image
            is_grey = space_of(profile) == GRAY and np.array_equal(image[..., 0], image[..., 1])
            picture = Pillow.fromarray(image[..., 0] if is_grey else image)
        return np.array(to_srgb(picture, profile, path) if profile else picture.convert("RGB"))


def read_matte(path: Path) -> Alpha:
    """Reads an 8- or 16-bit matte as float32 (H, W) in [0, 1], divided once by the largest value of its type.

    It is a PNG, JPEG, BMP or WebP. Its numbers are no colours: a colour profile is left out.

    Raises:
        DatasetError: as `read_image`; or it is a colour picture or has transparency, so that it is unclear which
            numbers are the matte.
    """
    values = _matte_values(path)
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)


def read_matte16(path: Path) -> Matte16:
    """Reads a matte as uint16 (H, W), 0 to 65535: half the memory of `read_matte`, and 0 and 1 survive resizing.

    Raises:
        DatasetError: as `read_matte`.
    """
    values = _matte_values(path)
    if values.dtype == np.uint16:
        return cast(Matte16, values)
    widened = values.astype(np.uint16)
    widened *= 257  # 255 · 257 = 65535; in place, as a matte may be large
    return widened


def _matte_values(path: Path) -> NDArray[Any]:  # uint8 or uint16 (H, W)
    limit = pixel_limit()
    data = read_bytes(path, limit)
    with opened_picture(data, path, limit, PLAIN_FORMATS):
        pass
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


def read_pair(image_path: Path, matte_path: Path) -> tuple[Image, Alpha]:
    """Reads an image and its matte, which must have the same size.

    Raises:
        DatasetError: one of them cannot be read, or their sizes differ; names both files.
    """
    image, alpha = read_image(image_path), read_matte(matte_path)
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
        image, matte = (f"{width} × {height}" for height, width in (image_size, matte_size))
        raise DatasetError(f"image {image_path} is {image}, but its matte {matte_path} is {matte} (width × height)")


def upright(opened: ImageFile) -> Picture:
    """A picture as `opened_picture` of `headers.py` gives it, decoded and turned as OpenCV turns what it reads."""
    opened.load()
    for name in _UNHEEDED:
        opened.info.pop(name, None)
    return ImageOps.exif_transpose(opened)


def checked_alpha(alpha: Alpha, image: Image, name: str) -> Alpha:
    """What a predictor gave for an image, which is sure to be an alpha of it.

    Raises:
        DatasetError: it has another size than the image, or values outside of [0, 1] or that are no numbers.
    """
    if alpha.shape != image.shape[:2]:
        raise DatasetError(f"{name}: the predictor gave a matte of {alpha.shape}, wanted {image.shape[:2]}")
    if not (alpha.min() >= 0 and alpha.max() <= 1):  # false for NaN as well
        raise DatasetError(f"{name}: the predictor gave values from {alpha.min()} to {alpha.max()}, wanted [0, 1]")
    return alpha


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


def _decode(data: bytes, flags: int, path: Path) -> NDArray[Any]:
    try:
        decoded: Any = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise DatasetError(f"image {path} cannot be decoded: {error.err}") from error
    if decoded is None:  # what OpenCV answers to a file that is cut off; its stubs do not say so
        raise DatasetError(f"image {path} ({len(data)} bytes): cut off or damaged")
    return cast(NDArray[Any], decoded)


def _in_8_bits(picture: Picture, path: Path) -> Picture:  # mode RGB, L or CMYK, without transparency
    if picture.mode in ("RGB", "L", "CMYK"):
        return picture
    if picture.mode in ("1", "LA"):
        return picture.convert("L")
    if picture.mode in ("P", "PA", "RGBA", "RGBX", "YCbCr"):
        return picture.convert("RGB")
    if picture.mode.startswith("I;16"):
        return Pillow.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    raise DatasetError(f"image {path}: wanted colours or grey of 8 or 16 bits, got Pillow's mode {picture.mode}")
