"""Trimaps from mattes: of random width, new at every visit, for training; of one width for evaluation."""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

KERNEL_SIDES = (2, 4)  # pixels, both included
ITERATIONS = (5, 14)  # both included
BAND_RADIUS = 10  # pixels, of the unknown band that errors are restricted to: amid those of training


def trimap_from_alpha(alpha: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The trimap that the MODNet trainer makes, float32 (H, W): 0 background, 0.5 unknown, 1 foreground.

    Foreground is what stays after eroding `alpha == 1`, background what stays outside of dilating `alpha > 0`, so the
    unknown band holds every pixel with 0 < alpha < 1. Both use one elliptical kernel of random side 2 to 4 and a random
    5 to 14 iterations, two draws of `rng`. Nothing is eroded or dilated from beyond the border of the picture. Alpha is
    float32 (H, W) in [0, 1], with exact 0 and 1 where it is certain.
    """
    side = int(rng.integers(KERNEL_SIDES[0], KERNEL_SIDES[1] + 1))
    iterations = int(rng.integers(ITERATIONS[0], ITERATIONS[1] + 1))
    is_foreground, is_background = _known(alpha, _ellipse(side), iterations)
    trimap = np.full(alpha.shape, 0.5, dtype=np.float32)
    trimap[is_foreground] = 1.0
    trimap[is_background] = 0.0
    return trimap


def unknown_band(alpha: NDArray[np.float32]) -> Mask:
    """The unknown band that errors are restricted to: bool (H, W), the same for the same matte.

    A pixel is unknown when, within `BAND_RADIUS` pixels of it, alpha is above 0 somewhere and below 1 somewhere. So
    the band holds every 0 < alpha < 1 and both sides of a hard edge, and is empty where a matte is all 0 or all 1. The
    alpha matting benchmark has trimaps drawn by hand instead, so its numbers are not comparable.
    """
    is_foreground, is_background = _known(alpha, _ellipse(2 * BAND_RADIUS + 1), iterations=1)
    return ~(is_foreground | is_background)


def _known(alpha: NDArray[np.float32], kernel: NDArray[np.uint8], iterations: int) -> tuple[Mask, Mask]:
    is_foreground = cv2.erode((alpha >= 1.0).astype(np.uint8), kernel, iterations=iterations)
    is_person = cv2.dilate((alpha > 0.0).astype(np.uint8), kernel, iterations=iterations)
    return is_foreground == 1, is_person == 0


def _ellipse(side: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8, copy=False)
