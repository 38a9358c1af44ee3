"""Networks as functions of images, to score and to use them. What needs OpenVINO is in `openvino_predictors.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modnet.graph_function import GraphFunction, TorchGraph
from modnet.workloads.matting.data.images import Alpha, Image
from modnet.workloads.matting.data.preprocessing import prepare, restore
from modnet.workloads.matting.data.protocols import Protocol

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
