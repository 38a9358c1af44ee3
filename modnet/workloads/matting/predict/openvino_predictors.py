"""ONNX files and IRs as functions of images, on OpenVINO."""

from collections.abc import Callable, Sequence
from pathlib import Path

import openvino as ov

from modnet.errors import ConfigError, GraphError
from modnet.export.graph_file import pixel_shape, read_ir, read_onnx, shapes_of
from modnet.export.openvino_graph import OpenvinoGraph, ShapedGraphs
from modnet.workloads.matting.data.protocols import Protocol, letterbox
from modnet.workloads.matting.predict.predictors import FittingPredictor, Predictor


class OnnxPredictor(Predictor):
    """Predicts with an ONNX file by a protocol; None: the letterbox of its size, "modelcompression" where that is open.

    One of fixed input size takes only its own letterbox, as `device-512`.
    """

    def __init__(self, path: Path, protocol: Protocol | None = None, device: str = "CPU") -> None:
        super().__init__(*_graph_for(path, read_onnx, protocol, device))


class IrPredictor(Predictor):
    """Predicts with an IR; for the protocol see `OnnxPredictor`."""

    def __init__(self, xml: Path, protocol: Protocol | None = None, device: str = "CPU") -> None:
        super().__init__(*_graph_for(xml, read_ir, protocol, device))


def ir_predictor(paths: Sequence[Path], protocol: Protocol | None = None, device: str = "CPU") -> Predictor:
    """Predicts with an IR; with several, or a folder of them, each image by the IR that fits it best.

    Raises:
        ConfigError: IRs of the same or of open size; a folder without any.
    """
    irs = [one for path in paths for one in (sorted(path.glob("*.xml")) if path.is_dir() else [path])]
    if not irs:
        raise ConfigError(f"{paths[0]} is a folder, wanted a file, or a folder of IRs: it holds no .xml")
    if len(irs) == 1:
        return IrPredictor(irs[0], protocol, device)
    graphs = ShapedGraphs([_graph_for(one, read_ir, protocol, device)[0] for one in irs])
    return FittingPredictor(graphs, graphs.shapes)


def _graph_for(
    path: Path, read: Callable[[Path], ov.Model], protocol: Protocol | None, device: str
) -> tuple[OpenvinoGraph, Protocol]:
    graph = OpenvinoGraph(path, device, lambda path: _matting_network(path, read))
    if graph.shape is None:
        if graph.input_shape[2:] != (None, None):
            raise ConfigError(f"{path} has one side open, wanted both open or both fixed")
        return graph, protocol or "modelcompression"
    own = letterbox(graph.shape)
    if protocol not in (None, own):
        height, width = graph.shape
        raise ConfigError(f"{path} reads {height}×{width} pixels only, got protocol {protocol!r}, wanted {own!r}")
    return graph, own


def _matting_network(path: Path, read: Callable[[Path], ov.Model]) -> ov.Model:
    """What `read` reads; refuses with a GraphError what is no image → its matte."""
    model = read(path)
    image, matte = pixel_shape(model.input()), model.output().partial_shape
    is_matte = image.compatible(ov.PartialShape([-1, 3, -1, -1])) and matte.compatible(ov.PartialShape([-1, 1, -1, -1]))
    if not is_matte or not all(matte[axis].compatible(image[axis]) for axis in (0, 2, 3)):
        raise GraphError(f"{path} is no matting network: wanted (B, 3, H, W) → (B, 1, H, W), got {shapes_of(model)}")
    return model
