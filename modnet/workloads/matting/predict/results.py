"""What becomes of an image and its predicted alpha."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modnet.errors import ConfigError
from modnet.workloads.matting.data.images import Alpha, Image
from modnet.workloads.matting.names import ResultKind
from modnet.workloads.matting.predict.background import fit_background
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
