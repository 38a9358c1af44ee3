"""Deployed graphs as functions of pixels, to compare the forms of one network; for OpenVINO's see `modnet.export`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from modnet.network import PrunableNetwork

Pixels = NDArray[np.float32]  # what a network reads, float32 (B, C, H, W) in [-1, 1]; one image unless more are said

GraphFunction = Callable[[Pixels], NDArray[np.float32]]
"""What a deployed graph computes of pixels: float32 (B, …), as (B, 1, H, W) of maps or (B, classes) of logits."""


class TorchGraph:
    """A copy of a network as a `GraphFunction`: training the original on does not change it."""

    def __init__(self, network: PrunableNetwork, device: str = "cpu") -> None:
        self._device = device
        self._network = copy.deepcopy(network).to(device).deployed().eval()

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch  # here: ONNX files and IRs are used without it

        with torch.inference_mode():
            output: NDArray[np.float32] = self._network(torch.tensor(pixels, device=self._device)).cpu().numpy()
        return output


def image_of(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixels (B, 3, H, W) in [-1, 1] as the image that they are of, uint8 (B, H, W, 3); to the nearest step."""
    image: NDArray[np.uint8] = np.rint((pixels.transpose(0, 2, 3, 1) + 1.0) * 127.5).astype(np.uint8)
    return image


def pixels_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image, uint8 (B, H, W, 3), as pixels (B, 3, H, W) in [-1, 1]."""
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
