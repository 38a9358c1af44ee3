"""Reading mattes, and images with theirs.

An *image* is uint8 (H, W, 3), RGB, 0 to 255. An *alpha* is float32 (H, W), 0 (background) to 1 (person); as a
`Matte16` it is uint16, 0 to 65535.
"""

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.headers import PLAIN_FORMATS, opened_picture, read_bytes
from modnet.data.images import Image, decode, read_image
from modnet.data.pixel_limit import pixel_limit
from modnet.errors import DatasetError

Alpha = NDArray[np.float32]
Matte16 = NDArray[np.uint16]


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
    values = decode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH, path)  # rotated by EXIF, as an image is
    if values.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"matte {path}: wanted 8 or 16 bits per value, got {values.dtype}")
    if values.ndim == 3:
        whole = decode(data, cv2.IMREAD_UNCHANGED, path)  # not rotated, but with its transparency
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
