"""Reading, resizing and writing images.

An *image* is uint8 (H, W, 3), RGB, 0 to 255.
"""

import logging
from pathlib import Path
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from PIL.Image import Image as Picture
from PIL.ImageFile import ImageFile

from modnet.data.colour_profile import CMYK, GRAY, space_of, to_srgb
from modnet.data.headers import OTHER_FORMATS, opened_picture, read_bytes
from modnet.data.pixel_limit import pixel_limit
from modnet.errors import DatasetError
from modnet.files import write_atomically
from modnet.targets import Shape

Image = NDArray[np.uint8]
_Value = TypeVar("_Value", bound=np.generic)

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
            image = decode(data, cv2.IMREAD_COLOR_RGB, path)
            if not profile:
                return image
            is_grey = space_of(profile) == GRAY and np.array_equal(image[..., 0], image[..., 1])
            picture = Pillow.fromarray(image[..., 0] if is_grey else image)
        return np.array(to_srgb(picture, profile, path) if profile else picture.convert("RGB"))


def upright(opened: ImageFile) -> Picture:
    """A picture as `opened_picture` of `headers.py` gives it, decoded and turned as OpenCV turns what it reads."""
    opened.load()
    for name in _UNHEEDED:
        opened.info.pop(name, None)
    return ImageOps.exif_transpose(opened)


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


def decode(data: bytes, flags: int, path: Path) -> NDArray[Any]:
    """The picture in a file's bytes, by OpenCV's `flags`; `path` is for messages.

    Raises:
        DatasetError: cut off or damaged.
    """
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


def resize(array: NDArray[_Value], height: int, width: int) -> NDArray[_Value]:
    """Resizes (H, W) or (H, W, C) of any OpenCV type: averages when no side grows, otherwise bilinear."""
    shrinks = height <= array.shape[0] and width <= array.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(NDArray[_Value], cv2.resize(cast(Any, array), (width, height), interpolation=method))


def normalise(image: Image) -> NDArray[np.float32]:
    """The image, uint8 (H, W, 3), as float32 (3, H, W) in [-1, 1]."""
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    pixels /= np.float32(127.5)
    pixels -= np.float32(1.0)
    return pixels


def shrink(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(H, W) or (H, W, C), averaged down until it just covers `shape` with its aspect kept; not enlarged."""
    height, width = array.shape[:2]
    scale = max(shape[0] / height, shape[1] / width)
    return resize(array, round(height * scale), round(width * scale)) if scale < 1 else array
