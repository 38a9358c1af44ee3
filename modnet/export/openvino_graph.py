"""ONNX files and IRs as functions of pixels, on OpenVINO, which runs both.

onnxruntime would be one more runtime that no device of ours uses, and `onnx.reference` (1.23) mixes the batch's own
statistics into batch norm of opsets below 14 and takes seconds for one 512×512 image. A unit test does hold the two
against each other.

On CPUs and GPUs everything here computes in float32: without that hint OpenVINO silently uses bfloat16 or float16 where
the device has it. Other devices, as NPUs, have their own number format only.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from modnet.errors import ConfigError, GraphError
from modnet.export.compiled import Config, kept_or_compiled
from modnet.export.graph_file import fixed_shape, pixel_shape, read_graph, runtime_words
from modnet.export.runtime import core, device_here
from modnet.graph_function import image_of
from modnet.targets import Shape


def reads_images(path: Path) -> bool:
    """Whether the input of an ONNX file or IR is the image, uint8 (B, H, W, 3)."""
    return bool(read_graph(path).input().element_type == ov.Type.u8)


class OpenvinoGraph:
    """An ONNX file or an IR as a `GraphFunction`; one that reads uint8 gets `image_of` the pixels.

    Args:
        path: an `.xml` with its `.bin` beside it, or an ONNX file.
        device: OpenVINO's name of what computes, in any case.
        read: of `modnet.export.graph_file`; says which kind of file is wanted.
        shape: height and width that it shall read instead of those of its file, where `resize_by_scales` let it.
        kept: folder where the compiled network is kept, so that the next process has it sooner; None does not keep it.

    Attributes:
        input_shape: (batch, channels, height, width); None where any size is read.
        reads_images: its input is uint8 (B, H, W, 3).

    Raises:
        ConfigError: there is no such device here; or, called, the pixels have another shape than the network reads.
        GraphError: missing or damaged files, a graph of other shapes, or one that the device does not take.
    """

    def __init__(
        self,
        path: Path,
        device: str = "CPU",
        read: Callable[[Path], ov.Model] = read_graph,
        *,
        shape: Shape | None = None,
        kept: Path | None = None,
    ) -> None:
        self.path = path

        def compiled(device: str, config: Config) -> ov.CompiledModel:
            return _compiled(_in_shape(read(path), path, shape), path, device, config)

        name = device_here(device)
        config: Config = {"INFERENCE_PRECISION_HINT": "f32"} if name.split(".")[0] in ("CPU", "GPU") else {}
        if kept is None:
            self._compiled = compiled(name, config)
        else:
            self._compiled = kept_or_compiled(kept, path, shape, name, config, compiled)
        self.reads_images = self._compiled.input().element_type == ov.Type.u8
        self._shape = pixel_shape(self._compiled.input())
        self.input_shape = tuple(None if size.is_dynamic else size.get_length() for size in self._shape)

    @property
    def shape(self) -> Shape | None:
        """Height and width that it reads; None where one of them is open."""
        height, width = self.input_shape[2:]
        return None if height is None or width is None else (height, width)

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._shape.compatible(ov.PartialShape(pixels.shape)):
            wanted = " × ".join("any" if size is None else str(size) for size in self.input_shape)
            raise ConfigError(f"{self.path} reads pixels of shape {wanted}, got {' × '.join(map(str, pixels.shape))}")
        given = image_of(pixels) if self.reads_images else pixels
        return np.array(self._compiled(given)[0])  # a copy: the next run overwrites the original


class ShapedGraphs:
    """IRs of one network as one `GraphFunction`: pixels go to the IR of their height and width.

    Attributes:
        shapes: that they read, in their order; none where the only one reads any.

    Raises:
        ConfigError: two read the same, or one of several has an open size; or, called, none of them reads the pixels.
    """

    def __init__(self, graphs: Sequence[OpenvinoGraph]) -> None:
        self._first = graphs[0]
        self._by_shape = {graph.shape: graph for graph in graphs if graph.shape is not None}
        self.shapes = tuple(self._by_shape)
        if len(self.shapes) < len(graphs) > 1:
            shown = ", ".join(f"{one.path} of {one.shape or 'any size'}" for one in graphs)
            raise ConfigError(f"several IRs are of one network at different fixed sizes, got: {shown}")

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = pixels.shape[2:]
        return self._by_shape.get((height, width), self._first)(pixels)


def _in_shape(model: ov.Model, path: Path, shape: Shape | None) -> ov.Model:
    if shape is None or (shape_there := fixed_shape(model)) == shape:
        return model
    batch, channels = list(pixel_shape(model.input()))[:2]
    is_image = model.input().element_type == ov.Type.u8
    try:
        model.reshape([batch, *shape, channels] if is_image else [batch, channels, *shape])
    except RuntimeError as error:
        there = "any size" if shape_there is None else f"{shape_there[0]}×{shape_there[1]} pixels"
        why = f"cannot read {shape[0]}×{shape[1]}: {runtime_words(error)}"
        raise GraphError(f"{path} is of {there} and {why}") from error
    return model


def _compiled(model: ov.Model, path: Path, device: str, config: Config) -> ov.CompiledModel:
    try:
        return core().compile_model(model, device, dict(config))
    except RuntimeError as error:
        raise GraphError(f"cannot load {path} on {device}: OpenVINO refuses it: {runtime_words(error)}") from error
