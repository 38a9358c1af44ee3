"""Shapes, and the stack of layers that they are painted on."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (..., 2): x to the right, y down
Colour = NDArray[Any] | tuple[int, int, int]  # RGB, 0 to 255: (3,) or (H, W, 3)

SUPERSAMPLING = 4
SHIFT = 4  # fractional bits of the coordinates that OpenCV draws at


class Layers:
    """A stack of painted shapes, painted from back to front in pixel coordinates (x to the right, y down).

    Attributes:
        colour: float32 (H, W, 3), RGB, 0 to 255, already multiplied by alpha.
        alpha: float32 (H, W), [0, 1].
    """

    def __init__(self, height: int, width: int) -> None:
        self.colour = np.zeros((height, width, 3), dtype=np.float32)
        self.alpha = np.zeros((height, width), dtype=np.float32)

    def fill(self, outline: Points, colour: Colour, opacity: float = 1.0, *, inside: bool = False) -> None:
        """Paints one filled outline, (N, 2). With `inside`, only onto what is there: the matte does not change."""
        self._paint(outline[None], colour, opacity, inside, thickness=None)

    def stroke(
        self, curves: Points, colour: Colour, width: float, opacity: float = 1.0, *, inside: bool = False
    ) -> None:
        """Paints curves, (M, N, 2), as lines of a width in pixels (to the nearest quarter); `inside` as in `fill`."""
        self._paint(curves, colour, opacity, inside, thickness=max(1, round(width * SUPERSAMPLING)))

    def _paint(self, shapes: Points, colour: Colour, opacity: float, inside: bool, thickness: int | None) -> None:
        margin = 1 + (thickness or 0) / SUPERSAMPLING
        left, top = np.maximum(np.floor(shapes.min(axis=(0, 1)) - margin), 0).astype(int)
        right, bottom = np.minimum(np.ceil(shapes.max(axis=(0, 1)) + margin), self.alpha.shape[::-1]).astype(int)
        if left >= right or top >= bottom:  # outside of the picture
            return
        mask = np.zeros(((bottom - top) * SUPERSAMPLING, (right - left) * SUPERSAMPLING), dtype=np.uint8)
        fixed = list(np.rint((shapes - (left, top)) * SUPERSAMPLING * 2**SHIFT).astype(np.int32))
        if thickness is None:
            cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, SHIFT)
        else:
            cv2.polylines(mask, fixed, False, 255, thickness, cv2.LINE_8, SHIFT)
        covered = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        coverage = covered / np.float32(255.0) * np.float32(opacity)
        window = np.s_[top:bottom, left:right]
        value = np.asarray(colour, dtype=np.float32)
        if value.ndim == 3:
            value = value[window]
        alpha = self.alpha[window]
        # over: c' = c (1 - k) + k v;  atop: c' = c (1 - k) + k a v, with the alpha a that is there
        painted = (coverage * alpha if inside else coverage)[..., None] * value
        self.colour[window] = self.colour[window] * (1.0 - coverage[..., None]) + painted
        if not inside:
            self.alpha[window] = alpha + coverage * (1.0 - alpha)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, first: float = 0.0, last: float = 2 * np.pi
) -> Points:
    """The outline of an ellipse, or a part of it between two angles in radians, clockwise from the right: (49, 2)."""
    angle = np.linspace(first, last, 49)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=-1)


def arc(first: tuple[float, float], control: tuple[float, float], last: tuple[float, float]) -> Points:
    """A curve from the first to the last point, drawn towards the control point: (17, 2)."""
    return quadratic(np.array(first), np.array(control), np.array(last), steps=17)


def quadratic(first: Points, control: Points, last: Points, steps: int) -> Points:
    """Quadratic Bézier curves between points (..., 2): (..., steps, 2)."""
    t = np.linspace(0.0, 1.0, steps)[:, None]
    first, control, last = first[..., None, :], control[..., None, :], last[..., None, :]
    return (1 - t) ** 2 * first + 2 * t * (1 - t) * control + t**2 * last


def smooth(outline: Points) -> Points:
    """The closed outline with its corners cut three times (Chaikin)."""
    for _ in range(3):
        following = np.roll(outline, -1, axis=0)
        corners = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], axis=1)
        outline = corners.reshape(-1, 2)
    return outline
