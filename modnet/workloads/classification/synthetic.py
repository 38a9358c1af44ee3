"""Made-up images of classes: shapes of one colour before noise. They need no network to be fetched, nor torch."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.configs import SyntheticConfig
from modnet.data.batches import generator_of
from modnet.data.images import Image
from modnet.graph_function import pixels_of
from modnet.targets import Shape

CLASSES = ("cross", "disc", "ring", "square", "stripes", "triangle")
GOLDEN_IMAGES = 4


def draw(path: Path, config: SyntheticConfig) -> None:
    """Writes the archive of a data set, all classes in turns: at least 3 images of each in `train` and 1 in `val`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = {"train": max(config.train, 3 * len(CLASSES)), "val": max(config.val, len(CLASSES))}
    with zipfile.ZipFile(path, "w") as archive:
        for part, (split, count) in enumerate(counts.items()):
            for number in range(count):
                name = CLASSES[number % len(CLASSES)]
                rng = generator_of(config.seed, part, number)
                _, png = cv2.imencode(".png", draw_shape(name, (config.height, config.width), rng)[..., ::-1])
                member = zipfile.ZipInfo(f"shapes/{split}/{name}/{number:05d}.png")  # of 1980, whenever it is written
                archive.writestr(member, png.tobytes())


def draw_shape(name: str, shape: Shape, rng: np.random.Generator) -> Image:
    """One shape of a random colour, place and size before a noisy background, uint8 (*shape, 3)."""
    height, width = shape
    background = rng.integers(0, 256, 3) + rng.normal(0, 12, (height, width, 3))
    picture = np.clip(background, 0, 255).astype(np.uint8)
    radius = int(min(shape) * rng.uniform(0.2, 0.35))
    row, column = (int(rng.integers(radius, side - radius)) for side in shape)
    mask = _mask(name, shape, (row, column), radius)
    colour = (background.mean(axis=(0, 1)) + rng.integers(80, 176, 3)) % 256
    picture[mask] = colour.astype(np.uint8)
    return picture


def golden_images(shape: Shape) -> NDArray[np.float32]:
    """Some drawn shapes of a height and width as a network reads them: (N, 3, *shape), the same each time."""
    images = [draw_shape(name, shape, generator_of(0, number)) for number, name in enumerate(CLASSES[:GOLDEN_IMAGES])]
    return pixels_of(np.stack(images))


def _mask(name: str, shape: Shape, centre: Shape, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    down, right = rows - centre[0], columns - centre[1]
    farthest, distance = np.maximum(abs(down), abs(right)), np.hypot(down, right)
    masks = {
        "cross": (np.minimum(abs(down), abs(right)) <= radius // 4) & (farthest <= radius),
        "disc": distance <= radius,
        "ring": (distance <= radius) & (distance >= 0.6 * radius),
        "square": farthest <= 0.9 * radius,
        "stripes": (farthest <= radius) & (down % max(2, radius // 2) < max(1, radius // 4)),
        "triangle": (abs(down) <= radius) & (abs(right) <= (down + radius) / 2),
    }
    return np.asarray(masks[name])
