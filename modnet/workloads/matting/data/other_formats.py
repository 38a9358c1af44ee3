"""Pictures that OpenCV does not read, or not well: HEIC of phones, AVIF, TIFF, GIF, and JPEGs for printing.

Pillow is imported when one is met: training on other images does without it.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modnet.errors import DatasetError
from modnet.workloads.matting.data.colour_profile import needing_pillow, to_srgb
from modnet.workloads.matting.data.pixel_limit import too_many_pixels

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

logger = logging.getLogger(__name__)

OTHER_SUFFIXES = frozenset({".avif", ".gif", ".heic", ".heif", ".hif", ".tif", ".tiff"})

_FORMATS = ("AVIF", "GIF", "HEIF", "JPEG", "TIFF")  # Pillow knows many more, with parsers that nobody needs here
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706  # tags of TIFF: a preview of the picture; a negative


def read_other(data: bytes, path: Path, max_pixels: int) -> NDArray[np.uint8]:
    """A picture as `modnet.workloads.matting.data.images.read_image` gives it: uint8 (H, W, 3), sRGB, upright.

    Of several pictures in a file it is the first, or the one that a HEIC calls its primary.

    Raises:
        DatasetError: none of these formats, cut off, damaged, a camera's negative, of numbers that are no colours, or
            more than `max_pixels`; or Pillow is not installed.
    """
    try:
        import pillow_heif
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise needing_pillow(path, "is neither PNG, JPEG, BMP nor WebP, but perhaps HEIC, AVIF, TIFF or GIF") from error

    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which is a fixed one; ours is looked at before it decodes
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            warnings.simplefilter("ignore", UserWarning)  # of odd metadata, with lines of Pillow's code
            _check(opened, path, max_pixels)
            profile = opened.info.get("icc_profile")
            picture = _in_8_bits(ImageOps.exif_transpose(opened), path)
            return np.array(to_srgb(picture, profile, path) if profile else picture.convert("RGB"))
    except UnidentifiedImageError as error:
        raise DatasetError(
            f"image {path} ({len(data)} bytes): empty, cut off, or neither PNG, JPEG, BMP, WebP, HEIC, AVIF, TIFF "
            "nor GIF"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow's decoders raise
        raise DatasetError(f"image {path} ({len(data)} bytes): cut off or damaged: {error}") from error


def _check(opened: Picture, path: Path, max_pixels: int) -> None:
    """Refuses, before it is decoded, what is too large or only stands for a picture."""
    if opened.width * opened.height > max_pixels:
        raise too_many_pixels(path, opened.height, opened.width, max_pixels)
    tags = getattr(opened, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise DatasetError(f"image {path}: a camera's negative; develop it to JPEG, TIFF or HEIC first")
    if (count := getattr(opened, "n_frames", 1)) > 1:
        logger.warning("image %s holds %d pictures; only one of them is read", path, count)


def _in_8_bits(picture: Picture, path: Path) -> Picture:
    """As mode RGB, L or CMYK, without transparency."""
    from PIL import Image

    if picture.mode in ("RGB", "L", "CMYK"):
        return picture
    if picture.mode in ("1", "LA"):
        return picture.convert("L")
    if picture.mode in ("P", "PA", "RGBA", "RGBX", "YCbCr"):
        return picture.convert("RGB")
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    raise DatasetError(f"image {path}: wanted colours or grey of 8 or 16 bits, got Pillow's mode {picture.mode}")
