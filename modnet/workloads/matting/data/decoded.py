"""Decoded images and mattes, shrunk to what samples need."""

from pathlib import Path

import numpy as np

from modnet.data.images import Image, read_image, shrink
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
