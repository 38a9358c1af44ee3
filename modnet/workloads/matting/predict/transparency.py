"""What is transparent in an image stays so: the colours behind it are nobody's, or what somebody has cut away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from modnet.errors import DatasetError
from modnet.workloads.matting.data.images import Alpha

_FORMATS = ("AVIF", "GIF", "HEIF", "PNG", "TIFF", "WEBP")  # that can be; Pillow's other parsers are not needed here


def within_opacity(alpha: Alpha, path: Path) -> Alpha:
    """`alpha`, float32 (H, W) in [0, 1], times the opacity that the image itself has there.

    Args:
        alpha: of the image, at its size, upright.
        path: the image; `read_image` has read it, and so its size is known to be acceptable.

    Raises:
        DatasetError: the file's transparency cannot be read; names it.
    """
    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which is a fixed one
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            if not opened.has_transparency_data or opened.mode.startswith("I"):  # 16 bits of grey: one shade at most
                return alpha
            opacity = np.asarray(ImageOps.exif_transpose(opened).convert("RGBA").getchannel("A"), np.float32)
    except UnidentifiedImageError:
        return alpha  # a kind of picture that is never transparent
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow's decoders raise
        raise DatasetError(f"image {path}: its transparency cannot be read: {error}") from error
    return alpha * (opacity / np.float32(255))
