"""Networks as functions: of `pixels`, to compare forms of one network, and of images, to score them.

OpenVINO runs the ONNX file as well as the IR. The two other ways to run ONNX were left: onnxruntime would be one more
runtime that no device of ours uses, and `onnx.reference` (1.23) mixes the batch's own statistics into batch norm of
opsets below 14 and takes seconds for one 512×512 image. A unit test does hold the two against each other.

Everything here computes in float32: without that hint OpenVINO silently uses bfloat16 where the CPU has it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray

from modnet.data.images import SIDE, Alpha, Image, Protocol, prepare, restore
from modnet.errors import ConfigError, ExportError
from modnet.export.runtime import core
from modnet.models.modnet import MODNet

MatteFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""pixels (B, 3, H, W) in [-1, 1] → alpha (B, 1, H, W) in [0, 1]; H and W multiples of 32."""


class TorchMatte:
    """A copy of a network as a `MatteFunction`: training the original on does not change it."""

    def __init__(self, network: MODNet, device: str = "cpu") -> None:
        self._device = device
        self._network = copy.deepcopy(network).to(device).deployed().eval()

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            alpha: NDArray[np.float32] = self._network(torch.tensor(pixels, device=self._device)).cpu().numpy()
        return alpha


class OpenvinoMatte:
    """An ONNX file or an IR as a `MatteFunction`, on the CPU.

    Attributes:
        input_shape: (batch, channels, height, width); None where any size is read.

    Raises:
        ExportError: missing or damaged files, or a graph that is not image → alpha.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compiled = _compiled(path)
        dimensions = self._compiled.input().partial_shape
        self.input_shape = tuple(None if size.is_dynamic else size.get_length() for size in dimensions)

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs the network.

        Raises:
            ConfigError: the pixels have another shape than the network reads.
        """
        if not self._compiled.input().partial_shape.compatible(ov.PartialShape(pixels.shape)):
            wanted = " × ".join("any" if size is None else str(size) for size in self.input_shape)
            raise ConfigError(f"{self._path} reads pixels of shape {wanted}, got {' × '.join(map(str, pixels.shape))}")
        return np.array(self._compiled(pixels)[0])  # a copy: the next run overwrites the original


class Predictor:
    """Image, uint8 (H, W, 3) RGB → alpha, float32 (H, W) in [0, 1]: a `MatteFunction` under one protocol."""

    def __init__(self, matte: MatteFunction, protocol: Protocol) -> None:
        self.matte = matte
        self.protocol = protocol

    def __call__(self, image: Image) -> Alpha:
        prepared = prepare(image, self.protocol)
        alpha = self.matte(prepared.pixels.numpy())
        return restore(alpha[0, 0], prepared.geometry)


class TorchPredictor(Predictor):
    """Predicts with a copy of a network."""

    def __init__(self, network: MODNet, protocol: Protocol, device: str = "cpu") -> None:
        super().__init__(TorchMatte(network, device), protocol)


class OnnxPredictor(Predictor):
    """Predicts with an ONNX file; one of fixed input size takes protocol `device-512` only."""

    def __init__(self, path: Path, protocol: Protocol) -> None:
        super().__init__(_matte_for(path, protocol), protocol)


class IrPredictor(Predictor):
    """Predicts with an IR; one of fixed input size takes protocol `device-512` only."""

    def __init__(self, xml: Path, protocol: Protocol = "device-512") -> None:
        super().__init__(_matte_for(xml, protocol), protocol)


def _matte_for(path: Path, protocol: Protocol) -> OpenvinoMatte:
    """The network in `path`, once it is clear that it can read what `protocol` gives it."""
    matte = OpenvinoMatte(path)
    height, width = matte.input_shape[2:]
    is_open = height is None and width is None
    if not is_open and (protocol != "device-512" or (height, width) != (SIDE, SIDE)):
        raise ConfigError(
            f"{path} reads {height}×{width} pixels only, got protocol {protocol!r}; "
            f"a fixed input size goes with 'device-512', whose input is {SIDE}×{SIDE}"
        )
    return matte


def _compiled(path: Path) -> ov.CompiledModel:
    for file in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        if not file.is_file():
            raise ExportError(f"cannot load {path}: there is no file {file}")
    try:
        compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot load {path}: {error}") from error
    shapes = [[port.partial_shape for port in ports] for ports in (compiled.inputs, compiled.outputs)]
    wanted = [[ov.PartialShape([-1, channels, -1, -1])] for channels in (3, 1)]
    if not all(len(got) == 1 and got[0].compatible(want[0]) for got, want in zip(shapes, wanted, strict=True)):
        raise ExportError(
            f"{path} is no matting network: wanted (B, 3, H, W) → (B, 1, H, W), got {shapes[0]} → {shapes[1]}"
        )
    return compiled
