"""Decoded images: shrunk to what samples need, and kept as long as there is room."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image, read_image, resize
from modnet.targets import Shape
from modnet.workloads.matting.data.images import Matte16, check_same_size, read_matte16

Decoded = tuple[Image, Matte16]


def read_shrunk_pair(image_path: Path, matte_path: Path, shape: Shape) -> Decoded:
    """An image and its matte, averaged down as far as they still cover a height and width.

    One is shrunk before the other is read: of 50 megapixels, 150 MB are in memory at a time, beside the file.

    Raises:
        DatasetError: one of them cannot be read, or their sizes differ; names the file.
    """
    image = read_image(image_path)
    image_size = image.shape[:2]
    image = shrink(image, shape)
    matte = read_matte16(matte_path)
    check_same_size(image_path, image_size, matte_path, matte.shape)
    return image, shrink(matte, shape)


def read_shrunk_image(path: Path, shape: Shape) -> Decoded:
    """An image without a person that is known: its matte is 0 throughout.

    Raises:
        DatasetError: it cannot be read; names the file.
    """
    image = shrink(read_image(path), shape)
    return image, np.zeros(image.shape[:2], dtype=np.uint16)


def shrink(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(H, W) or (H, W, C), averaged down until it just covers `shape` with its aspect kept; not enlarged."""
    height, width = array.shape[:2]
    scale = max(shape[0] / height, shape[1] / width)
    return resize(array, round(height * scale), round(width * scale)) if scale < 1 else array


class DecodedCache:
    """Decoded images by index, up to a number of bytes.

    Nothing is evicted: in a new order every epoch, that would only push out what is needed next. A copy in another
    process starts empty.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._kept: dict[int, Decoded] = {}

    def get(self, index: int, read: Callable[[], Decoded]) -> Decoded:
        """What is kept at `index`, otherwise what `read` gives, kept when there is room."""
        if index in self._kept:
            return self._kept[index]
        decoded = read()
        size = sum(array.nbytes for array in decoded)
        if self.held_bytes + size <= self.max_bytes:
            self.held_bytes += size
            self._kept[index] = decoded
        return decoded

    def __reduce__(self) -> tuple[Any, ...]:
        return DecodedCache, (self.max_bytes,)
