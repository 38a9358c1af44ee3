"""OpenVINO 2022.1 and newer behind `interface.Runtime`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from infra.device.errors import ContractError
from infra.device.measuring.interface import Asked, Runtime

try:
    from openvino import Core, Type, get_version
except ImportError:  # 2022
    from openvino.runtime import Core, Type, get_version

_PRECISION = "INFERENCE_PRECISION_HINT"  # today's word for a property that plugins of other makers may lack


class Openvino2022(Runtime):
    """The interface of API 2.0."""

    def __init__(self) -> None:
        self.version = str(get_version())
        self._core = Core()

    def compile(self, ir_xml: Path, asked: Asked) -> Compiled2022:
        """Reads, reshapes and compiles for low latency."""
        properties = {"PERFORMANCE_HINT": "LATENCY"}
        if asked.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = str(asked.threads)
        if asked.precision is not None and _property(self._core, _PRECISION, asked.device) is not None:
            properties[_PRECISION] = asked.precision
        network = self._core.read_model(str(ir_xml))
        _reshape(network, asked)
        return Compiled2022(self._core.compile_model(network, asked.device, properties))


class Compiled2022:
    """One network with one request, see `interface.CompiledNetwork`."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self.input_data: np.ndarray[Any, Any] = self._request.get_input_tensor().data
        precision = _property(compiled, _PRECISION)
        self.precision: str | None = precision.get_type_name() if isinstance(precision, Type) else precision or None
        threads = _property(compiled, "INFERENCE_NUM_THREADS")
        self.threads = None if threads is None else int(threads)

    def run_once(self) -> None:
        """Waits for an asynchronous request."""
        self._request.start_async()
        self._request.wait()

    def output(self) -> np.ndarray[Any, Any]:
        """Copies the tensor."""
        return np.array(self._request.get_output_tensor(0).data)


def _reshape(network: Any, asked: Asked) -> None:
    """Fixes every size of the input, also batch, height and width where these are asked for."""
    if len(network.inputs) != 1:
        raise ContractError(f"network: got {len(network.inputs)} inputs, wanted 1")
    only = network.inputs[0]
    shape = only.partial_shape
    if shape.rank.is_dynamic:
        raise ContractError(f"network: got input shape {shape}, wanted one of a known number of dimensions")
    if asked.batch is not None or asked.shape is not None or shape.is_dynamic:
        sizes = [asked.open_side if size.is_dynamic else size.get_length() for size in shape]
        sizes[0] = asked.batch or (1 if shape[0].is_dynamic else sizes[0])
        if asked.shape is not None:
            first = 1 if only.element_type == Type.u8 else 2  # (B, H, W, 3), (B, 3, H, W)
            sizes[first : first + 2] = asked.shape
        network.reshape({only: sizes})


def _property(of: Any, name: str, *device: str) -> Any:
    """A property of a compiled network, or of a core's device; None when the device does not have it."""
    return of.get_property(*device, name) if name in of.get_property(*device, "SUPPORTED_PROPERTIES") else None
