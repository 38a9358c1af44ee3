"""The person's own colour where a matte is between 0 and 1, so that he can stand before another background.

A pixel there shows I = αF + (1 - α)B. Local averages of I, weighted by α and by 1 - α, are first guesses of F and B
(blur fusion: Forte 2021, "Approximate Fast Foreground Colour Estimation", ICIP). Here each guess then takes the
smallest step to colours that give I exactly, and the windows of the averages shrink from one round to the next.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image
from modnet.workloads.matting.data.images import Alpha

WINDOWS = (31, 11, 3)  # sides of the averaged squares in pixels
_LEAST_WEIGHT = np.float32(1e-4)  # of an average; below it there is none of that colour nearby

Colours = NDArray[np.float32]  # (H, W, 3), RGB, 0 to 255


def estimate_foreground(image: Image, alpha: Alpha) -> Colours:
    """The person's colours F, float32 (H, W, 3) in [0, 255]: the image where alpha is 1, undefined where it is 0.

    The image is uint8 (H, W, 3), RGB, its alpha float32 (H, W) in [0, 1].
    """
    seen = image.astype(np.float32)
    person: Colours = np.asarray(cv2.merge([alpha] * 3), dtype=np.float32)  # like colours: broadcasting takes longer
    rest = 1 - person
    squares = person**2 + rest**2
    foreground = background = seen
    for window in WINDOWS:
        foreground, background = _average(foreground, person, window), _average(background, rest, window)
        # The nearest (F, B) with αF + (1 - α)B = I lies along (α, 1 - α).
        step = (seen - person * foreground - rest * background) / squares
        foreground = np.clip(foreground + person * step, 0, 255)
        background = np.clip(background + rest * step, 0, 255)
    return foreground


def _average(colours: Colours, weight: Colours, window: int) -> Colours:  # in the square around each pixel
    weights: Any = cv2.blur(weight, (window, window))
    mean: Colours = cv2.blur(colours * weight, (window, window)) / np.maximum(weights, _LEAST_WEIGHT)
    return mean
