"""What a person is put on: a colour or a picture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from modnet.errors import ConfigError
from modnet.workloads.matting.data.images import Image, read_image
from modnet.workloads.matting.data.preprocessing import resize


def read_background(text: str) -> Image:
    """A colour `#rrggbb` as one pixel, or the picture in a file; uint8 (H, W, 3), RGB.

    Raises:
        ConfigError: it begins with # and is no colour.
        DatasetError: the file cannot be read.
    """
    if not text.startswith("#"):
        return read_image(Path(text))
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ConfigError(f"background: got {text!r}, wanted a colour as #00b140, or an image file")
    return np.frombuffer(bytes.fromhex(text[1:]), np.uint8).reshape(1, 1, 3)


def fit_background(background: Image, height: int, width: int) -> Image:
    """The largest part around the middle of `background` of the wanted aspect ratio, resized: (height, width, 3)."""
    scale = min(background.shape[0] / height, background.shape[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (background.shape[0] - rows) // 2, (background.shape[1] - columns) // 2
    return resize(np.ascontiguousarray(background[top : top + rows, left : left + columns]), height, width)
