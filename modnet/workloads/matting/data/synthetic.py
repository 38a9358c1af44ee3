"""Drawn portraits with exact mattes: data for tests, examples and a first run without any download.

A portrait is a stack of layers (hair behind the head, clothes, neck, head, face, hair in front, single strands), each
a shape, a colour and an opacity. Shapes are drawn at four times the size and averaged down, so a border or a strand
thinner than a pixel covers it partly. The person's colour F and opacity a come out of the same stack, and the picture
is a * F + (1 - a) * B over a background B, so the matte is exact up to rounding.
"""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.configs import SyntheticConfig
from modnet.errors import ConfigError, DatasetError
from modnet.files import write_atomically
from modnet.graph_function import Pixels, pixels_of
from modnet.targets import Shape
from modnet.workloads.matting.data.synthetic_background import draw_background
from modnet.workloads.matting.data.synthetic_layers import Layers
from modnet.workloads.matting.data.synthetic_person import draw_person

Float = NDArray[np.float32]

SMALLEST_SIDE = 64  # pixels; below it a face is a few dots
JPEG_QUALITY = 95
GOLDEN_PORTRAITS = 3
LARGEST_DRAWN = 512  # pixels on the longer side: drawn four times as large, more would take gigabytes


def render_portrait(rng: np.random.Generator, size: tuple[int, int] = (384, 288)) -> tuple[NDArray[np.uint8], Float]:
    """A drawn portrait: image uint8 (H, W, 3) RGB and its exact alpha, float32 (H, W) in [0, 1]; `rng` decides all.

    Raises:
        ConfigError: the size, (height, width) in pixels, is below 64 on a side.
    """
    height, width = size
    if min(size) < SMALLEST_SIDE:
        raise ConfigError(f"size of a portrait: got {height} × {width}, wanted at least {SMALLEST_SIDE} on each side")
    person = Layers(height, width)
    draw_person(person, rng)
    background = draw_background(rng, height, width)
    alpha = person.alpha[..., None]
    colour = np.minimum(person.colour * _light(rng, height, width), 255.0 * alpha) + (1.0 - alpha) * background
    colour += rng.standard_normal(colour.shape, dtype=np.float32) * np.float32(rng.uniform(0.5, 2.5))  # of the sensor
    return np.clip(np.rint(colour), 0, 255).astype(np.uint8), person.alpha


def golden_portraits(shape: Shape) -> Pixels:
    """Three drawn portraits as a network of this height and width reads them, (3, 3, *shape); see `Workload.golden`.

    Colours go in steps of 8: that flattens the noise, and the three pack into a third.
    """
    scale = min(1.0, LARGEST_DRAWN / max(shape))
    size = max(SMALLEST_SIDE, round(scale * shape[0])), max(SMALLEST_SIDE, round(scale * shape[1]))
    drawn = [render_portrait(np.random.default_rng(seed), size)[0] for seed in range(GOLDEN_PORTRAITS)]
    images = np.stack([cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR) for image in drawn])
    flat: NDArray[np.uint8] = (images // 8 * 8 + 4).astype(np.uint8)
    return pixels_of(flat)


def write_synthetic_archive(
    path: Path, *, train: int = 24, val: int = 8, size: tuple[int, int] = (384, 288), seed: int = 0
) -> Path:
    """Writes a zip of portraits in the layout `synthetic/{train,val}/{fg/<n>.jpg,alpha/<n>.png}`; returns its path.

    The same arguments give the same bytes (with the same OpenCV), and a portrait does not depend on how many there
    are. The file appears whole or not at all.

    Raises:
        ConfigError: fewer than one portrait in a split, or they are too small.
        DatasetError: the file cannot be written.
    """
    if min(train, val) < 1:
        raise ConfigError(f"synthetic portraits: got {train} for train and {val} for val, wanted at least 1 each")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for split_number, (split, count) in enumerate((("train", train), ("val", val))):
            for number in range(count):
                rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split_number, number)))
                image, alpha = render_portrait(rng, size)
                _add(archive, f"synthetic/{split}/fg/{number:04d}.jpg", image[..., ::-1])
                _add(archive, f"synthetic/{split}/alpha/{number:04d}.png", np.rint(alpha * 255.0).astype(np.uint8))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise DatasetError(f"archive {path} cannot be written: {error}") from error
    return path


def draw(path: Path, config: SyntheticConfig) -> None:
    """What `write_synthetic_archive` writes, by the config of the run form."""
    size = (config.height, config.width)
    write_synthetic_archive(path, train=config.train, val=config.val, size=size, seed=config.seed)


def _add(archive: zipfile.ZipFile, name: str, image: NDArray[np.uint8]) -> None:
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if name.endswith(".jpg") else []
    _, encoded = cv2.imencode(Path(name).suffix, image, settings)
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, a plain file
    archive.writestr(entry, encoded.tobytes())


def _light(rng: np.random.Generator, height: int, width: int) -> Float:
    """What the person's colours are multiplied by: a lamp on one side, of a slight colour; (H, W, 3)."""
    direction, strength = rng.uniform(0.0, 2 * np.pi), rng.uniform(0.0, 0.35)
    y, x = np.linspace(-1.0, 1.0, height)[:, None], np.linspace(-1.0, 1.0, width)[None, :]
    lamp = rng.uniform(0.75, 1.1) + strength * (np.cos(direction) * x + np.sin(direction) * y)
    light: Float = lamp[..., None].astype(np.float32) * rng.uniform(0.92, 1.08, 3).astype(np.float32)
    return light
