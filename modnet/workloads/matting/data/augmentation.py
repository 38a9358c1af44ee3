"""What happens to an image and its matte at random before they become a sample.

Every function takes what it changes and a generator, and gives new arrays. An `image` is uint8 (H, W, 3), RGB; a
`matte` is uint16 (H, W), 0 background to 65535 person, because OpenCV resizes 16 bits with 0 and 1 staying exact.
"""

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.image_changes import spoilt
from modnet.data.images import Image, resize
from modnet.targets import Shape
from modnet.workloads.matting.data.foreground import estimate_foreground
from modnet.workloads.matting.data.images import Alpha, Matte16
from modnet.workloads.matting.data.synthetic_background import draw_background
from modnet.workloads.matting.settings import AugmentationConfig

_Value = TypeVar("_Value", bound=np.generic)

Draw = Callable[[], tuple[Image, Matte16] | None]
"""Gives another image and its matte, whose background may be used; None when it has none to give."""

OPAQUE = 65535  # of a matte: all person
LETTERBOX_GREY = 128  # next to what a device's letterbox is filled with: 0 after normalisation, 127.5 before

DRAWN_SHARE = 0.5  # of the new backgrounds; the others are cut from photographs
SMALLEST_CUTTING = 0.125  # side of what is cut, as a share of the sample's; less would be one blur


def augment(
    image: Image, matte: Matte16, shape: Shape, config: AugmentationConfig, rng: np.random.Generator, draw_other: Draw
) -> tuple[Image, Matte16]:
    """An image and its matte, cropped, changed and resized to a height and width, as the config says."""
    if config.crops:
        image, matte = crop_at_border(image, matte, shape, (config.smallest_crop, config.largest_crop), rng)
    image, matte = resize(image, *shape), resize(matte, *shape)
    if rng.random() < config.flip:
        image, matte = image[:, ::-1], matte[:, ::-1]
    if rng.random() < config.background:
        image = replace_background(image, matte, random_background(shape, rng, draw_other))
    return spoilt(image, config.colour, config.blur, config.jpeg, rng), matte


def alpha_of(matte: Matte16) -> Alpha:
    """A matte as float32 (H, W) in [0, 1]."""
    return matte.astype(np.float32) / np.float32(OPAQUE)


def crop_at_border(
    image: Image, matte: Matte16, aspect: Shape, shares: tuple[float, float], rng: np.random.Generator
) -> tuple[Image, Matte16]:
    """The same rectangle of both, placed so that it contains a random pixel of the person's soft border.

    Without such a pixel it contains a random pixel of the person, and without a person any. A rectangle that is larger
    than the image in a direction contains all of it there; the rest is background, in the grey of a letterbox. Its
    height and width are proportional to `aspect`; `shares` are the smallest and largest, of the largest that fits.
    """
    height, width = matte.shape
    ratio = aspect[0] / aspect[1]
    share = rng.uniform(*shares)
    size = (max(1, round(min(height, width * ratio) * share)), max(1, round(min(height / ratio, width) * share)))
    wanted = np.flatnonzero((matte > 0) & (matte < OPAQUE))
    if not wanted.size:
        wanted = np.flatnonzero(matte)
    anchor = int(wanted[rng.integers(wanted.size)] if wanted.size else rng.integers(matte.size))
    first = _first(anchor // width, size[0], height, rng), _first(anchor % width, size[1], width, rng)
    return _cut(image, first, size, LETTERBOX_GREY), _cut(matte, first, size, 0)


def _first(position: int, side: int, length: int, rng: np.random.Generator) -> int:
    """First row (or column) of a crop that contains `position` and lies within [0, length), or else contains that."""
    first, last = sorted((max(0, position - side + 1), min(position, length - side)))
    return int(rng.integers(first, last + 1))


def _cut(array: NDArray[_Value], first: tuple[int, int], size: Shape, beyond: int) -> NDArray[_Value]:
    """The rectangle at a row and column of (H, W) or (H, W, C), which may reach over the edges: `beyond` is there."""
    (top, left), (height, width) = first, size
    inside = array[max(0, top) : top + height, max(0, left) : left + width]
    if inside.shape[:2] == size:
        return inside
    above, before = max(0, -top), max(0, -left)
    margins = ((above, height - above - inside.shape[0]), (before, width - before - inside.shape[1]))
    return np.pad(inside, margins + ((0, 0),) * (array.ndim - 2), constant_values=beyond)


def replace_background(image: Image, matte: Matte16, background: Image) -> Image:
    """αF + (1 - α)B, rounded: the person in his own colours F before another background B of the same size."""
    alpha = alpha_of(matte)[..., None]
    composite = alpha * estimate_foreground(image, alpha[..., 0]) + (1 - alpha) * background
    return np.rint(composite).astype(np.uint8)


def random_background(shape: Shape, rng: np.random.Generator, draw_other: Draw) -> Image:
    """A background without people, (*shape, 3): drawn, or cut from where another image's matte is 0.

    Drawn ones hold nobody for certain; cut ones have the noise, texture and light of photographs. An image without a
    large enough empty square gets a drawn one.
    """
    if rng.random() >= DRAWN_SHARE and (other := draw_other()) is not None:
        cutting = cut_empty_square(*other, round(SMALLEST_CUTTING * max(shape)), rng)
        if cutting is not None:
            height, width = (max(1, len(cutting) * side // max(shape)) for side in shape)
            return resize(cutting[:height, :width], *shape)
    return np.clip(np.rint(draw_background(rng, *shape)), 0, 255).astype(np.uint8)


def cut_empty_square(image: Image, matte: Matte16, smallest: int, rng: np.random.Generator) -> Image | None:
    """One of the largest squares in which the matte is 0 throughout; None where they are below `smallest` pixels."""
    # Chessboard distance to the next pixel that is not empty, outside included: 2 d - 1 is the side of the largest
    # empty square around a pixel.
    empty = cv2.copyMakeBorder((matte == 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    reach = cv2.distanceTransform(empty, cv2.DIST_C, 3)[1:-1, 1:-1]
    largest = int(reach.max())
    if 2 * largest - 1 < max(1, smallest):
        return None
    centres = np.flatnonzero(reach >= 0.8 * largest)
    row, column = divmod(int(centres[rng.integers(centres.size)]), matte.shape[1])
    margin = int(reach[row, column]) - 1
    return image[row - margin : row + margin + 1, column - margin : column + margin + 1]
