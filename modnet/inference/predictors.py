"""Networks as functions: of `pixels`, to compare forms of one network, and of images, to score and to use them.

Training needs them on machines without OpenVINO: what runs on that is in `modnet.export.predictors`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modnet.data.images import Alpha, Image, prepare, restore
from modnet.data.protocols import Protocol

if TYPE_CHECKING:
    from modnet.models.modnet import MODNet

MatteFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""pixels (B, 3, H, W) in [-1, 1] → alpha (B, 1, H, W) in [0, 1]; H and W multiples of 32."""


class TorchMatte:
    """A copy of a network as a `MatteFunction`: training the original on does not change it."""

    def __init__(self, network: MODNet, device: str = "cpu") -> None:
        self._device = device
        self._network = copy.deepcopy(network).to(device).deployed().eval()

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch  # here: ONNX files and IRs are used without it

        with torch.inference_mode():
            alpha: NDArray[np.float32] = self._network(torch.tensor(pixels, device=self._device)).cpu().numpy()
        return alpha


def image_of(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixels (B, 3, H, W) in [-1, 1] as the image that they are of, uint8 (B, H, W, 3); to the nearest step."""
    image: NDArray[np.uint8] = np.rint((pixels.transpose(0, 2, 3, 1) + 1.0) * 127.5).astype(np.uint8)
    return image


def pixels_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image, uint8 (B, H, W, 3), as pixels (B, 3, H, W) in [-1, 1]."""
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(127.5) - np.float32(1.0)


class Predictor:
    """Image, uint8 (H, W, 3) RGB → alpha, float32 (H, W) in [0, 1]: a `MatteFunction` under one protocol."""

    def __init__(self, matte: MatteFunction, protocol: Protocol) -> None:
        self.matte = matte
        self.protocol = protocol

    def __call__(self, image: Image) -> Alpha:
        prepared = prepare(image, self.protocol)
        alpha = self.matte(prepared.pixels)
        return restore(alpha[0, 0], prepared.geometry)


class TorchPredictor(Predictor):
    """Predicts with a copy of a network."""

    def __init__(self, network: MODNet, protocol: Protocol, device: str = "cpu") -> None:
        super().__init__(TorchMatte(network, device), protocol)
