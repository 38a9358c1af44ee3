"""A trimap from a matte, as the MODNet trainer makes them: random width of the unknown band, new at every visit."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

KERNEL_SIDES = (2, 4)  # pixels, both included
ITERATIONS = (5, 14)  # both included


def trimap_from_alpha(alpha: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The trimap, float32 (H, W): 0 background, 0.5 unknown, 1 foreground.

    Foreground is what stays after eroding `alpha == 1`, background what stays outside of dilating `alpha > 0`, so the
    unknown band holds every pixel with 0 < alpha < 1. Both use one elliptical kernel of random side 2 to 4 and a
    random 5 to 14 iterations. Nothing is eroded or dilated from beyond the border of the picture.

    Args:
        alpha: float32 (H, W) in [0, 1], with exact 0 and 1 where it is certain.
        rng: moves on by two draws.
    """
    side = int(rng.integers(KERNEL_SIDES[0], KERNEL_SIDES[1] + 1))
    iterations = int(rng.integers(ITERATIONS[0], ITERATIONS[1] + 1))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    is_foreground = cv2.erode((alpha >= 1.0).astype(np.uint8), kernel, iterations=iterations)
    is_background = cv2.dilate((alpha > 0.0).astype(np.uint8), kernel, iterations=iterations) == 0
    trimap = np.full(alpha.shape, 0.5, dtype=np.float32)
    trimap[is_foreground == 1] = 1.0
    trimap[is_background] = 0.0
    return trimap
