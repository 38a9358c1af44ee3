"""A person cut out: the colours of the foreground, with transparency or on another background.

An *image* is uint8 (H, W, 3), RGB; an *alpha* float32 (H, W) in [0, 1].
"""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image
from modnet.workloads.matting.data.images import Alpha

_RADII = (90, 6)  # pixels, of the boxes that colours are averaged in: first from afar, then near by
_TINY = 1e-5  # alpha: keeps from dividing by 0 where a box holds no foreground, or no background


def foreground_colours(image: Image, alpha: Alpha) -> Image:
    """What colour the person has, also where the background shines through: uint8 (H, W, 3), RGB.

    A pixel of hair is part background, I = αF + (1 - α)B; with its own colour I the old background would go along as a
    seam. F and B are therefore estimated as averages of their surroundings, weighted by α and 1 - α, then F is moved so
    that the equation holds better (Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021). Where α is 1 the
    colour stays the image's own.
    """
    colours = np.empty_like(image)
    for channel in range(3):  # one at a time: of large pictures, floats of all three would take gigabytes
        own = image[..., channel].astype(np.float32)
        foreground = background = own
        for radius in _RADII:
            mean_foreground = _weighted_mean(foreground, alpha, radius)
            background = _weighted_mean(background, 1 - alpha, radius)
            # F = F̂ + α (I - αF̂ - (1 - α)B̂)
            unexplained = own - alpha * mean_foreground - (1 - alpha) * background
            foreground = np.clip(mean_foreground + alpha * unexplained, 0, 255)
        colours[..., channel] = np.rint(foreground)
    return colours


def cutout(image: Image, alpha: Alpha) -> NDArray[np.uint8]:
    """The person on nothing: uint8 (H, W, 4), RGB of `foreground_colours` and alpha of 0 to 255, not multiplied.

    Where alpha is 0 the colours are 0 as well: whoever takes the transparency away finds nothing of the background.
    """
    opacity = np.rint(alpha * 255).astype(np.uint8)
    return np.dstack([foreground_colours(image, alpha) * (opacity > 0)[..., None], opacity])


def composite(image: Image, alpha: Alpha, background: Image) -> Image:
    """The person on another background of the same size: uint8 (H, W, 3), RGB, αF + (1 - α)B, rounded."""
    weight = alpha[..., None]
    mixed = foreground_colours(image, alpha) * weight + background * (1 - weight)
    return np.rint(mixed).astype(np.uint8)


def _weighted_mean(values: NDArray[np.float32], weights: Alpha, radius: int) -> NDArray[np.float32]:  # in a box
    box = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(values * weights, box) / (cv2.blur(weights, box) + np.float32(_TINY))
    return cast(NDArray[np.float32], mean)
