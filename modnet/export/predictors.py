"""ONNX files and IRs as functions, of pixels and of images, on OpenVINO.

OpenVINO runs the ONNX file as well as the IR. The two other ways to run ONNX were left: onnxruntime would be one more
runtime that no device of ours uses, and `onnx.reference` (1.23) mixes the batch's own statistics into batch norm of
opsets below 14 and takes seconds for one 512×512 image. A unit test does hold the two against each other.

Everything here computes in float32: without that hint OpenVINO silently uses bfloat16 where the CPU has it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from modnet.data.protocols import Protocol, device_protocol
from modnet.errors import ConfigError, ExportError
from modnet.export.runtime import core
from modnet.inference.predictors import Predictor, image_of


def reads_images(path: Path) -> bool:
    """Whether the input of an ONNX file or IR is the image, uint8 (B, H, W, 3)."""
    return bool(core().read_model(path).input().element_type == ov.Type.u8)


class OpenvinoMatte:
    """An ONNX file or an IR as a `MatteFunction`, on the CPU; one that reads uint8 gets `image_of` the pixels.

    Attributes:
        input_shape: (batch, channels, height, width); None where any size is read.
        reads_images: its input is uint8 (B, H, W, 3).

    Raises:
        ExportError: missing or damaged files, or a graph that is not image → alpha.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compiled = _compiled(path)
        self.reads_images = self._compiled.input().element_type == ov.Type.u8
        self._shape = _pixel_shape(self._compiled.input())
        self.input_shape = tuple(None if size.is_dynamic else size.get_length() for size in self._shape)

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs the network.

        Raises:
            ConfigError: the pixels have another shape than the network reads.
        """
        if not self._shape.compatible(ov.PartialShape(pixels.shape)):
            wanted = " × ".join("any" if size is None else str(size) for size in self.input_shape)
            raise ConfigError(f"{self._path} reads pixels of shape {wanted}, got {' × '.join(map(str, pixels.shape))}")
        given = image_of(pixels) if self.reads_images else pixels
        return np.array(self._compiled(given)[0])  # a copy: the next run overwrites the original


class OnnxPredictor(Predictor):
    """Predicts with an ONNX file; one of fixed input size takes only the protocol of that size, as `device-512`.

    Without a protocol it is that one, and "seed" where the size is open.
    """

    def __init__(self, path: Path, protocol: Protocol | None = None) -> None:
        super().__init__(*_matte_for(path, protocol))


class IrPredictor(Predictor):
    """Predicts with an IR; one of fixed input size takes only the protocol of that size, as `device-512`.

    Without a protocol it is that one, and "seed" where the size is open.
    """

    def __init__(self, xml: Path, protocol: Protocol | None = None) -> None:
        super().__init__(*_matte_for(xml, protocol))


def _matte_for(path: Path, protocol: Protocol | None) -> tuple[OpenvinoMatte, Protocol]:
    """The network in `path`, and the protocol that it is given; None: the letterbox of its size, "seed" where open."""
    matte = OpenvinoMatte(path)
    height, width = matte.input_shape[2:]
    is_open = height is None and width is None
    if protocol is None:
        protocol = "seed" if height is None else device_protocol(height)
    if not is_open and (height != width or protocol != f"device-{height}"):
        raise ConfigError(
            f"{path} reads {height}×{width} pixels only, got protocol {protocol!r}; "
            "a fixed input size goes with the letterbox of that size, as 'device-512' with 512×512"
        )
    return matte, protocol


def _compiled(path: Path) -> ov.CompiledModel:
    for file in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        if not file.is_file():
            raise ExportError(f"cannot load {path}: there is no file {file}")
    if path.suffix == ".xml":
        _require_own_weights(path)
    try:
        compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot load {path}: {error}") from error
    shapes = [[_pixel_shape(port) for port in compiled.inputs], [port.partial_shape for port in compiled.outputs]]
    wanted = [[ov.PartialShape([-1, channels, -1, -1])] for channels in (3, 1)]
    if not all(len(got) == 1 and got[0].compatible(want[0]) for got, want in zip(shapes, wanted, strict=True)):
        raise ExportError(
            f"{path} is no matting network: wanted (B, 3, H, W) → (B, 1, H, W), got {shapes[0]} → {shapes[1]}"
        )
    return compiled


def _require_own_weights(xml: Path) -> None:
    """Refuses a .bin of another length than the .xml describes: OpenVINO reads what is too long without a word."""
    text = xml.read_text(encoding="utf-8", errors="replace")
    ends = [int(offset) + int(size) for offset, size in re.findall(r'\boffset="(\d+)" size="(\d+)"', text)]
    wanted, got = max(ends, default=0), xml.with_suffix(".bin").stat().st_size
    if wanted != got:
        raise ExportError(
            f"cannot load {xml}: its .bin has {got} bytes, wanted {wanted}: it is cut or of another network"
        )


def _pixel_shape(port: ov.ConstOutput) -> ov.PartialShape:
    """The shape of an input, in the order of pixels also where it reads images."""
    shape = port.partial_shape
    is_image = port.element_type == ov.Type.u8 and shape.rank.is_static and len(shape) == 4
    return ov.PartialShape([shape[index] for index in (0, 3, 1, 2)]) if is_image else shape
