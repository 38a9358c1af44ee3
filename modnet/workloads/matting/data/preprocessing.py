"""From an image to what a network reads, and from its matte back: the only preprocessing in the product.

The network reads `pixels`: float32 (1, 3, h, w), RGB, `value / 127.5 - 1`, so in [-1, 1]; h and w are multiples of 32.

A *protocol* says how an image becomes `pixels` and how the predicted alpha gets back to the size of the image:

modelcompression
    As the published MODNet-ModelCompression evaluates: when the long side is below 512 or the short side above 512,
    the short side becomes 512 and the other `floor(long / short * 512)`, otherwise the size stays. Then both sides are
    floored to a multiple of 32. Normalised first, then resized by torch's "area" (adaptive average); back likewise.
    The only one that needs torch.
aspect
    The short side becomes 512, the long side keeps the aspect ratio, rounded (half up) to the nearest multiple of 32.
    OpenCV's area interpolation when no side grows, otherwise bilinear, on the uint8 values; back by bilinear.
device-512, device-480x320 (any height x width of multiples of 32)
    Letterbox for a network of fixed input: the image grows or shrinks until it fills the input in one direction, the
    other side keeps the aspect ratio, rounded (half up), at least 1. Interpolated as in `aspect`, then centred (the odd
    pixel goes below and right) in an input whose padding is 0 after normalisation (mid-grey). Back: the padding is cut
    off, then bilinear.

Every way back ends with clipping to [0, 1].
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Image, normalise, resize
from modnet.errors import DatasetError
from modnet.targets import STRIDE
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.data.protocols import Protocol, letterbox_shape

SIDE = 512
MAX_INPUT_PIXELS = 2**24  # 32 times 512 × 1024: beyond it, a sliver was blown up


@dataclass(frozen=True)
class Geometry:
    """How an image was brought to the network, as `restore` needs it; every pair is (height, width)."""

    protocol: Protocol
    image_size: tuple[int, int]
    input_size: tuple[int, int]  # of what the network reads
    content_size: tuple[int, int]  # of the image within the input; smaller than it where there is padding
    content_offset: tuple[int, int]  # first row and column of the image within the input


@dataclass(frozen=True)
class Prepared:
    """What the network reads: `pixels` float32 (1, 3, h, w) in [-1, 1], RGB, and the way back."""

    pixels: NDArray[np.float32]
    geometry: Geometry


def prepare(image: Image, protocol: Protocol) -> Prepared:
    """Sizes and normalises an image, uint8 (H, W, 3) RGB, by one of the protocols of this module.

    Raises:
        ConfigError: unknown protocol.
        DatasetError: the image is so narrow that the network could not read it, or only at an absurd size.
    """
    geometry = input_geometry(image.shape[0], image.shape[1], protocol)
    if protocol == "modelcompression":
        return Prepared(_adaptive_average(normalise(image), geometry.input_size)[None], geometry)
    (top, left), (height, width) = geometry.content_offset, geometry.content_size
    pixels = np.zeros((1, 3, *geometry.input_size), np.float32)
    pixels[0, :, top : top + height, left : left + width] = normalise(resize(image, height, width))
    return Prepared(pixels, geometry)


def restore(alpha: Alpha, geometry: Geometry) -> Alpha:
    """Brings a predicted alpha, float (h, w), to the size of the original image: float32 (H, W), clipped to [0, 1].

    Raises:
        ValueError: alpha does not have the size that the network read.
    """
    if alpha.shape != geometry.input_size:
        raise ValueError(f"wanted an alpha of (h, w) = {geometry.input_size}, got {alpha.shape}")
    if geometry.protocol == "modelcompression":
        restored: Alpha = _adaptive_average(np.ascontiguousarray(alpha, dtype=np.float32)[None], geometry.image_size)[0]
    else:
        (top, left), (height, width) = geometry.content_offset, geometry.content_size
        content = np.ascontiguousarray(alpha[top : top + height, left : left + width], dtype=np.float32)
        restored = cv2.resize(content, geometry.image_size[::-1], interpolation=cv2.INTER_LINEAR).astype(
            np.float32, copy=False
        )
    return np.clip(restored, 0.0, 1.0)


def _adaptive_average(planes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:  # (C, h, w)
    import torch  # here: who cuts people out by an IR of fixed size has none

    resized = torch.nn.functional.interpolate(torch.from_numpy(planes)[None], size=size, mode="area")
    return cast(NDArray[np.float32], resized[0].numpy())


def input_geometry(height: int, width: int, protocol: Protocol) -> Geometry:
    """How `prepare` brings an image of this size to the network.

    Raises:
        ConfigError, DatasetError: as `prepare`.
    """
    shape = letterbox_shape(protocol)
    if protocol == "modelcompression":
        content = _modelcompression_size(height, width)
    elif shape is None:
        scale = SIDE / min(height, width)
        content = (_nearest(height * scale, STRIDE), _nearest(width * scale, STRIDE))
    else:
        scale = min(shape[0] / height, shape[1] / width)
        content = (_nearest(height * scale, 1), _nearest(width * scale, 1))
    input_size = content if shape is None else shape
    if min(content) < 1 or content[0] * content[1] > MAX_INPUT_PIXELS:
        raise DatasetError(
            f"an image of {width} × {height} (width × height) is too narrow for protocol {protocol!r}: "
            f"the network would read {content[1]} × {content[0]}"
        )
    offset = ((input_size[0] - content[0]) // 2, (input_size[1] - content[1]) // 2)
    return Geometry(protocol, (height, width), input_size, content, offset)


def _modelcompression_size(height: int, width: int) -> tuple[int, int]:
    short, long = min(height, width), max(height, width)
    if long < SIDE or short > SIDE:
        short, long = SIDE, int(long / short * SIDE)
    short, long = short // STRIDE * STRIDE, long // STRIDE * STRIDE
    return (short, long) if height <= width else (long, short)


def _nearest(value: float, multiple: int) -> int:  # half up
    return max(multiple, int(value / multiple + 0.5) * multiple)
