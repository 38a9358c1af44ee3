"""Backgrounds for drawn portraits: backdrops, walls, rooms, parks, in focus or not."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # (H, W, 3), RGB, 0 to 255


def draw_background(rng: np.random.Generator, height: int, width: int) -> Picture:
    """One of six scenes, in focus or not; float32 (height, width, 3), RGB, about 0 to 255."""
    scenes = (_backdrop, _clouds, _bands, _texture, _room, _park)
    picture = scenes[rng.integers(len(scenes))](rng, height, width)
    blur = rng.uniform(0.0, 0.02) * height
    return cv2.GaussianBlur(picture, (0, 0), blur).astype(np.float32) if blur > 0.5 else picture


def _backdrop(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A colour that runs into another in some direction."""
    y, x = np.linspace(0.0, 1.0, height)[:, None], np.linspace(0.0, 1.0, width)[None, :]
    direction = rng.uniform(0.0, 2 * np.pi)
    share = 0.5 + 0.7 * (np.cos(direction) * (x - 0.5) + np.sin(direction) * (y - 0.5))
    return _mixed(paint_colour(rng), paint_colour(rng), share)


def _clouds(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = np.broadcast_to(paint_colour(rng), (height, width, 3))
    for _ in range(2):
        picture = _mixed(picture, paint_colour(rng), smooth_noise(rng, height, width, int(rng.integers(3, 9))))
    return picture


def _bands(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Stripes in some direction, as of planks, blinds or tiles."""
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    direction, period = rng.uniform(0.0, np.pi), height * rng.uniform(0.04, 0.2)
    wave = np.sin(2 * np.pi * (np.cos(direction) * x + np.sin(direction) * y) / period)
    return _mixed(paint_colour(rng), paint_colour(rng), np.clip(0.5 + rng.uniform(0.5, 4.0) * wave, 0.0, 1.0))


def _texture(rng: np.random.Generator, height: int, width: int) -> Picture:
    octaves = [smooth_noise(rng, height, width, cells) / cells**0.3 for cells in (6, 18, 50, 120)]
    return _mixed(0.3 * paint_colour(rng), paint_colour(rng), np.mean(octaves, axis=0) * 4.0)


def _room(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A wall and a floor with boxes: windows, frames, shelves."""
    picture = _backdrop(rng, height, width) * 0.3 + 0.7 * paint_colour(rng)
    floor = int(height * rng.uniform(0.65, 0.95))
    picture[floor:] = paint_colour(rng)
    for _ in range(int(rng.integers(3, 12))):
        left, top = int(rng.integers(-width // 6, width)), int(rng.integers(-height // 6, floor))
        corner = (left + int(rng.integers(width // 12, width // 2)), top + int(rng.integers(height // 12, height // 2)))
        cv2.rectangle(picture, (left, top), corner, paint_colour(rng).tolist(), -1)
        cv2.rectangle(picture, (left, top), corner, paint_colour(rng).tolist(), max(1, width // 90))
    return picture


def _park(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Sky, ground, and round foliage with lights."""
    sky, ground = np.array([120, 170, 225]) * rng.uniform(0.6, 1.1), np.array([90, 120, 60]) * rng.uniform(0.5, 1.2)
    picture = np.empty((height, width, 3), dtype=np.float32)
    horizon = int(height * rng.uniform(0.4, 0.8))
    picture[:horizon], picture[horizon:] = sky, ground
    for _ in range(int(rng.integers(40, 140))):
        centre = (int(rng.integers(width)), int(height * rng.uniform(0.0, 0.9)))
        green = np.array([60, 100, 40]) * rng.uniform(0.4, 2.0) + rng.normal(0, 12, 3)
        cv2.circle(picture, centre, int(height * rng.uniform(0.01, 0.08)), np.clip(green, 0, 255).tolist(), -1)
    return picture


def _mixed(first: Picture, second: Picture, share: NDArray[Any]) -> Picture:
    """From the first colour to the second, as the share (H, W) of the second says."""
    return first + share[..., None].astype(np.float32) * (second - first)


def paint_colour(rng: np.random.Generator) -> Picture:
    """A colour of paint, cloth or paper: any brightness, mostly muted; (3,)."""
    return np.clip(rng.uniform(25, 230) + rng.normal(0.0, 38.0, 3), 5, 250).astype(np.float32)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Picture:
    """Smooth noise in [0, 1] with about `cells` hills across."""
    coarse = rng.random((cells + 1, cells + 1), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
