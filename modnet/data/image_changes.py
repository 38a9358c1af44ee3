"""What happens to an image at random and leaves its label as it is.

Every function takes an image, uint8 (H, W, 3), RGB, and a generator, and gives a new one of the same size.
"""

from typing import cast

import cv2
import numpy as np

from modnet.data.images import Image

BRIGHTNESS, CONTRAST, COLOUR = 0.15, 0.2, 0.08  # largest change at strength 1, as a share
BLUR_SIGMA = (0.3, 1.2)  # pixels of the sample: no more than a matte's own border is soft
JPEG_QUALITY = (40, 90)  # both included


def recolour(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """(value · gain - mean) · contrast + mean + brightness, per colour, rounded and clipped."""
    gain = rng.uniform(1 - COLOUR * strength, 1 + COLOUR * strength, size=3)
    contrast = rng.uniform(1 - CONTRAST * strength, 1 + CONTRAST * strength)
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) * strength * 255.0
    mean = image.mean()
    # Three tables of 256 entries instead of arithmetic on every pixel.
    values = (np.arange(256.0)[:, None] * gain - mean) * contrast + mean + brightness
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return cast(Image, cv2.LUT(image, table[None]))


def blur(image: Image, rng: np.random.Generator) -> Image:
    """As from a lens slightly out of focus; the matte stays, as its border is as soft as the blur."""
    return cast(Image, cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR_SIGMA)))


def compress(image: Image, rng: np.random.Generator) -> Image:
    """As read back from a JPEG file of random quality."""
    quality = int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
    # OpenCV takes its channels as BGR, both ways; told RGB, it would treat red as blue where it saves on colour.
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cast(Image, cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))


def spoilt(image: Image, colour: float, blurred: float, compressed: float, rng: np.random.Generator) -> Image:
    """Each of these in turn: colours change at a strength from 0, the others happen to shares of images in [0, 1]."""
    if colour > 0:
        image = recolour(image, colour, rng)
    if rng.random() < blurred:
        image = blur(image, rng)
    if rng.random() < compressed:
        image = compress(image, rng)
    return image
