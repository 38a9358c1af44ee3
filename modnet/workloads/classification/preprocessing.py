"""From an image to what a classifier reads, and from its logits to classes. Nothing here needs torch.

The network reads `pixels`: float32 (1, 3, h, w), RGB, in [-1, 1]. The image grows or shrinks until it covers height and
width with its aspect kept, and the centre is cut out: the short side fits, the long one loses both ends.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image, normalise, resize
from modnet.errors import ConfigError
from modnet.graph_function import GraphFunction, Pixels
from modnet.targets import Shape


class Share(NamedTuple):
    """A class, and the share that a network gives to it: 0 to 1, all together 1."""

    name: str
    share: float


def centred(image: Image, shape: Shape) -> Image:
    """The centre of an image, uint8 (H, W, 3), at a height and width."""
    height, width, _ = image.shape
    scale = max(shape[0] / height, shape[1] / width)
    covering = resize(image, max(shape[0], round(height * scale)), max(shape[1], round(width * scale)))
    top, left = ((have - want) // 2 for have, want in zip(covering.shape, shape, strict=False))
    return covering[top : top + shape[0], left : left + shape[1]]


def fitting(shapes: Sequence[Shape], image_size: tuple[int, ...]) -> Shape:
    """The shape whose aspect is nearest to that of an image of (height, width); the first of equals."""
    aspect = math.log(image_size[0] / image_size[1])
    return min(shapes, key=lambda one: abs(math.log(one[0] / one[1]) - aspect))


def prepare(image: Image, shape: Shape) -> Pixels:
    """What a network reads of an image: (1, 3, *shape)."""
    return normalise(centred(image, shape))[None]


def logits_of(graph: GraphFunction, pixels: Pixels, classes: int) -> NDArray[np.float32]:
    """What a network says of one image: (classes,).

    Raises:
        ConfigError: it says something of another number of classes.
    """
    output = graph(pixels)
    if output.shape != (1, classes):
        raise ConfigError(f"the network's output for one image is {output.shape}, wanted logits of (1, {classes})")
    logits: NDArray[np.float32] = output[0]
    return logits


def shares(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The softmax of logits (classes,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(powers / powers.sum())


def ranked(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The classes of the highest logits, the highest first; of equal ones the first."""
    return np.argsort(-logits, kind="stable")[:count]
