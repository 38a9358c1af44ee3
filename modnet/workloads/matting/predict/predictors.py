"""Networks as functions of images, to score and to use them. What needs OpenVINO is in `openvino_predictors.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modnet.data.images import Image
from modnet.graph_function import GraphFunction, TorchGraph
from modnet.targets import Shape
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.data.preprocessing import prepare, restore
from modnet.workloads.matting.data.protocols import Protocol, letterbox

if TYPE_CHECKING:
    from modnet.workloads.matting.network.modnet import MODNet


class Predictor:
    """Image, uint8 (H, W, 3) RGB → alpha, float32 (H, W) in [0, 1]: a `GraphFunction` under one protocol."""

    def __init__(self, matte: GraphFunction, protocol: Protocol) -> None:
        self.matte = matte
        self.protocol = protocol

    def __call__(self, image: Image) -> Alpha:
        prepared = prepare(image, self.protocol)
        alpha = self.matte(prepared.pixels)
        return restore(alpha[0, 0], prepared.geometry)


class TorchPredictor(Predictor):
    """Predicts with a copy of a network."""

    def __init__(self, network: MODNet, protocol: Protocol, device: str = "cpu") -> None:
        super().__init__(TorchGraph(network, device), protocol)


class FittingPredictor(Predictor):
    """Predicts in the letterbox of one of several shapes, whichever fits an image best; the graph reads all of them."""

    def __init__(self, matte: GraphFunction, shapes: Sequence[Shape]) -> None:
        super().__init__(matte, " or ".join(letterbox(shape) for shape in shapes))
        self._shapes = shapes

    def __call__(self, image: Image) -> Alpha:
        return Predictor(self.matte, letterbox(fitting(self._shapes, image.shape[:2])))(image)


def fitting_predictor(matte: GraphFunction, shapes: Sequence[Shape]) -> Predictor:
    """In letterboxes of what a network reads; without any, as the published networks are compared."""
    return FittingPredictor(matte, shapes) if shapes else Predictor(matte, "modelcompression")


def fitting(shapes: Sequence[Shape], image_size: tuple[int, int]) -> Shape:
    """The shape in whose letterbox an image of this (height, width) leaves fewest pixels empty; the first of equals."""
    height, width = image_size

    def empty(shape: Shape) -> float:
        scale = min(shape[0] / height, shape[1] / width)
        return shape[0] * shape[1] - scale**2 * height * width

    return min(shapes, key=empty)
