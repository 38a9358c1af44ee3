"""Matting errors of one image by the definitions of the alpha matting benchmark: alpha against alpha.

Both are float32 (H, W) in [0, 1] of equal size. Every error is the mean or the sum of a map of errors, one for each
pixel; with `is_unknown`, bool (H, W), of that map within the unknown band only (`data/trimap.py`). The
maps themselves are always those of the whole image, as the benchmark has it.

Rhemann et al., A Perceptually Motivated Online Benchmark for Image Matting, CVPR 2009.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.workloads.matting.names import Metric

Alpha = NDArray[np.float32]
Mask = NDArray[np.bool_]

GRADIENT_SIGMA = 1.4  # pixels, of the Gaussian whose derivative is taken
_GRADIENT_RADIUS = 4  # pixels: beyond it that Gaussian is below 0.01, where the benchmark cuts it off
CONNECTIVITY_STEPS = 10  # thresholds, 0.1 apart
CONNECTIVITY_TOLERANCE = 0.15  # alpha: a smaller distance from being connected is not seen


def mse(predicted: Alpha, alpha: Alpha) -> float:
    """Mean squared error, in [0, 1]."""
    return summarise("mse", squared_error(predicted, alpha))


def squared_error(predicted: Alpha, alpha: Alpha) -> Alpha:
    """(p - a)², float32 (H, W)."""
    error: Alpha = np.square(predicted - alpha)
    return error


def absolute_error(predicted: Alpha, alpha: Alpha) -> Alpha:
    """|p - a|, float32 (H, W)."""
    error: Alpha = np.abs(predicted - alpha)
    return error


def gradient_error(predicted: Alpha, alpha: Alpha) -> Alpha:
    """(|∇p| - |∇a|)², float32 (H, W): the benchmark's gradient error, with its exponent q = 2.

    ∇ is a convolution with the first derivatives of a Gaussian of `GRADIENT_SIGMA`, 9 × 9 pixels, each divided by the
    root of the sum of its squares, as the benchmark's own program does; beside a step from 0 to 1 |∇| is 2.66. The
    picture goes on beyond its border with the value at the border.
    """
    difference = _gradient_size(predicted)
    difference -= _gradient_size(alpha)
    return np.square(difference, out=difference)


def connectivity_error(predicted: Alpha, alpha: Alpha) -> Alpha:
    """|φ(p) - φ(a)|, float32 (H, W): the benchmark's connectivity error with step 0.1, θ = 0.15 and p = 1.

    Ω(t) is the largest 4-connected region in which both alphas are at least t; of several the one met first, row by
    row. l of a pixel is the last t of 0, 0.1, … 1 up to which it is in every Ω. Then, for each of the two alphas,
    d = alpha - l and φ = 1 - d where d ≥ θ, otherwise 1. This is what the benchmark's own program computes; the paper
    weighs d by λ, which that program has at 1.
    """
    connected = _connected_up_to(np.minimum(predicted, alpha))
    difference = _disconnection(predicted, connected)
    difference -= _disconnection(alpha, connected)
    return np.abs(difference, out=difference)


ERROR_MAPS: Mapping[Metric, Callable[[Alpha, Alpha], Alpha]] = {
    "mse": squared_error,
    "mad": absolute_error,
    "sad": absolute_error,
    "grad": gradient_error,
    "conn": connectivity_error,
}


ERROR_NAMES = (*ERROR_MAPS, *(f"unknown_{metric}" for metric in ERROR_MAPS))
"""Every error that a score can hold, the deciding one first; `unknown_…` is within the unknown band."""


def summarise(metric: Metric, error_map: Alpha, is_unknown: Mask | None = None) -> float:
    """One number for a map of errors: its mean for `mse` and `mad`, for the others its sum in thousands.

    A sum grows with the image: 1 of `sad` is a thousand pixels wrong from 0 to 1, 1 of `conn` as many cut off entirely.

    Raises:
        ValueError: there is no pixel, so no error either.
    """
    errors = error_map if is_unknown is None else error_map[is_unknown]
    if not errors.size:
        raise ValueError(f"{metric} of no pixels at all: the unknown band is empty")
    total = float(errors.sum(dtype=np.float64))
    return total / errors.size if metric in ("mse", "mad") else total / 1000


def _gradient_size(alpha: Alpha) -> Alpha:
    positions = np.arange(-_GRADIENT_RADIUS, _GRADIENT_RADIUS + 1)
    gaussian = np.exp(-(positions**2) / (2 * GRADIENT_SIGMA**2))
    derivative = positions * gaussian
    # The 9 × 9 kernel is the outer product of these two, and so is the root of the sum of its squares.
    smooth, differ = (kernel / np.sqrt(np.square(kernel).sum()) for kernel in (gaussian, derivative))
    along_x = cv2.sepFilter2D(alpha, cv2.CV_32F, differ, smooth, borderType=cv2.BORDER_REPLICATE)
    along_y = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, differ, borderType=cv2.BORDER_REPLICATE)
    # Not cv2.magnitude: its last digit depends on where in memory the arrays are.
    size: Alpha = np.sqrt(np.square(along_x) + np.square(along_y))
    return size


def _connected_up_to(both: Alpha) -> Alpha:
    """l of `connectivity_error`, from the smaller of both alphas."""
    step_reached = np.zeros(both.shape, np.uint8)
    # Outside of this box no threshold is reached, so that l stays 0.
    left, top, width, height = cv2.boundingRect(_at_least(both, 1))
    box = slice(top, top + height), slice(left, left + width)
    inside = np.ascontiguousarray(both[box])
    masks = [mask for step in range(1, CONNECTIVITY_STEPS + 1) if (mask := _at_least(inside, step)).any()]
    if masks:
        # A pixel of the last Ω is in every mask, and most often in every Ω.
        row, column = divmod(int(_largest_region(masks[-1], seed=None).argmax()), inside.shape[1])
        is_connected = np.ones(inside.shape, np.bool_)
        for mask in masks:
            is_connected &= _largest_region(mask, seed=(column, row))
            step_reached[box] += is_connected
    return np.divide(step_reached, CONNECTIVITY_STEPS, dtype=np.float32)


def _largest_region(mask: NDArray[np.uint8], seed: tuple[int, int] | None) -> NDArray[np.bool_]:
    """The largest 4-connected region of a mask (H, W) of 0 and 1 that is not all 0.

    Filling from `seed`, column and row of a pixel of the mask, takes a tenth of the time of labelling all regions, and
    settles it when more than half of the mask gets filled.
    """
    if seed is not None:
        filled = mask.copy()
        area, *_ = cv2.floodFill(filled, None, seed, 2, flags=4)
        if 2 * area > np.count_nonzero(mask):
            is_filled: NDArray[np.bool_] = filled == 2
            return is_filled
    _, regions, figures, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    is_largest: NDArray[np.bool_] = regions == 1 + figures[1:, cv2.CC_STAT_AREA].argmax()  # region 0: mask is 0
    return is_largest


def _at_least(alpha: Alpha, step: int) -> NDArray[np.uint8]:
    return (alpha >= np.float32(step / CONNECTIVITY_STEPS)).view(np.uint8)


def _disconnection(alpha: Alpha, connected: Alpha) -> Alpha:
    """1 - φ: how far alpha is above what is connected, 0 where that cannot be seen."""
    distance = alpha - connected
    distance[distance < CONNECTIVITY_TOLERANCE] = 0
    return distance
