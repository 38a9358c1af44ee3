"""The shipped networks as functions of images: each picture by the shape that fits it."""

from pathlib import Path

from modnet.data.images import Image
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.runtime import device_here
from modnet.shipped import FrontName
from modnet.targets import Shape, Target
from modnet.workloads.matting.data.images import Alpha
from modnet.workloads.matting.data.protocols import letterbox
from modnet.workloads.matting.predict.predictors import Predictor, fitting
from modnet.workloads.matting.weights import front_network


class FrontPredictor:
    """Image, uint8 (H, W, 3) RGB → alpha, float32 (H, W) in [0, 1], by the IR of a network of the front.

    A portrait picture is read in the network's portrait shape, a landscape picture in the turned one. What is compiled
    stays.
    """

    def __init__(self, name: FrontName, device: str = "CPU", kept: Path | None = None) -> None:
        """Reads the card alone; `kept` is a folder for compiled networks, see `OpenvinoGraph`.

        Raises:
            ConfigError: there is no such device here, by OpenVINO's name: a CPU computes in 8 bits, others in float16.
        """
        self._network = front_network(name)
        self._device = device_here(device)
        self._kept = kept
        self._predictors: dict[Shape, Predictor] = {}

    def __call__(self, image: Image) -> Alpha:
        shape = fitting(self._network.shapes, image.shape[:2])
        if shape not in self._predictors:
            xml = self._network.irs[target_for(self._device)]
            graph = OpenvinoGraph(xml, self._device, shape=shape, kept=self._kept)
            self._predictors[shape] = Predictor(graph, letterbox(shape))
        return self._predictors[shape](image)


def target_for(device: str) -> Target:
    """What the front ships for a device."""
    return "cpu-int8" if device.upper().partition(".")[0] == "CPU" else "cpu-fp16"
