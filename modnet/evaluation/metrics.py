"""Matting errors of one image: alpha against alpha, both float32 (H, W) in [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float32]


def mse(predicted: Alpha, alpha: Alpha) -> float:
    """Mean squared error over all pixels, in [0, 1]."""
    return float(np.square(predicted - alpha, dtype=np.float32).mean(dtype=np.float64))


def mad(predicted: Alpha, alpha: Alpha) -> float:
    """Mean absolute difference over all pixels, in [0, 1]."""
    return float(np.abs(predicted - alpha).mean(dtype=np.float64))
