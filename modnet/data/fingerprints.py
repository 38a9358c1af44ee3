"""Whether pictures are the same, also after they were resized, brightened or compressed anew; not after a crop.

Two pictures are copies where both of these hold:

* dHash (Krawetz, "Kind of Like That", 2013) of 16 × 16 comparisons, is the picture brighter to the right, differs in at
  most 32 of 256 bits;
* the two small grey pictures that it compares have a correlation of at least 0.98.

dHash alone is wrong on pictures of a studio: on one plain background nearly all of its bits agree. What was measured is
in docs/decisions/data.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16  # comparisons in a row, and rows of them
MOST_DIFFERENT_BITS = 32  # of SIDE²
LEAST_CORRELATION = 0.98
_BLOCK = 1024  # rows compared at a time: 40 MB against 10,000 others

Fingerprint = NDArray[np.uint8]
"""A small grey picture, (16, 17)."""


class Copy(NamedTuple):
    """A picture of one set that is one of another, by their positions, and in how many of 256 bits of dHash not."""

    one: int
    other: int
    different_bits: int


def fingerprint(image: NDArray[np.uint8]) -> Fingerprint:
    """What is compared of an image, (H, W, 3), RGB."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def copies(these: Sequence[Fingerprint], those: Sequence[Fingerprint]) -> list[Copy]:
    """Which of `these` are copies of one of `those`, in order; of several it is the one with the fewest other bits."""
    if not these or not those:
        return []
    those_bits, those_greys = _bits(those), _normalised(those)
    found = []
    for first in range(0, len(these), _BLOCK):
        block = these[first : first + _BLOCK]
        different = (SIDE**2 - _bits(block) @ those_bits.T) / 2  # (B, M), exact in float32
        different[_normalised(block) @ those_greys.T < LEAST_CORRELATION] = np.inf
        nearest = different.argmin(axis=1)
        found += [
            Copy(first + row, int(column), int(different[row, column]))
            for row, column in enumerate(nearest)
            if different[row, column] <= MOST_DIFFERENT_BITS
        ]
    return found


def _bits(prints: Sequence[Fingerprint]) -> NDArray[np.float32]:  # (N, 256) of 1, brighter to the right, and -1
    greys = np.stack(prints)
    return np.where(greys[:, :, 1:] > greys[:, :, :-1], np.float32(1), np.float32(-1)).reshape(len(greys), -1)


def _normalised(prints: Sequence[Fingerprint]) -> NDArray[np.float32]:  # (N, 272) of length 1; 0 where all is one grey
    greys = np.stack(prints).reshape(len(prints), -1).astype(np.float32)
    greys -= greys.mean(axis=1, keepdims=True)
    greys /= np.maximum(np.linalg.norm(greys, axis=1, keepdims=True), 1e-6)
    return greys
