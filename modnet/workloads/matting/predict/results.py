"""What becomes of an image and its predicted alpha, and what a person is put on: a colour or a picture."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image, read_image, resize
from modnet.errors import ConfigError
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.names import ResultKind
from modnet.workloads.matting.predict.composition import composite, cutout

Render = Callable[[Image, Alpha], NDArray[np.uint8]]
"""Image and alpha → a picture of the same size: uint8 grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4)."""


def renderer(kind: ResultKind, background: Image | None = None) -> Render:
    """Draws `alpha` as grey, `foreground` as RGBA, `composite` as RGB on a background of any size (`fit_background`).

    Raises:
        ConfigError: a composite without a background, or a background for something else.
    """
    if (background is not None) != (kind == "composite"):
        raise ConfigError(f"result {kind!r}: a composite, and nothing else, needs a background")
    if background is not None:
        return _Composite(background)
    return cutout if kind == "foreground" else _grey


def _grey(_: Image, alpha: Alpha) -> NDArray[np.uint8]:
    return np.rint(alpha * 255).astype(np.uint8)


class _Composite:
    """On one background, which is fitted anew only when the size changes: the frames of a video have one."""

    def __init__(self, background: Image) -> None:
        self._background = self._fitted = background

    def __call__(self, image: Image, alpha: Alpha) -> NDArray[np.uint8]:
        if self._fitted.shape != image.shape:
            self._fitted = fit_background(self._background, *alpha.shape)
        return composite(image, alpha, self._fitted)


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
