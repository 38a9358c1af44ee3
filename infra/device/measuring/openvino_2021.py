"""OpenVINO 2021.4 as `interface.Runtime`: the last that pip installs with the plugin of a Neural Compute Stick 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from infra.device.errors import ContractError
from infra.device.measuring.interface import Asked, Runtime


class Openvino2021(Runtime):
    """The Inference Engine's interface."""

    def __init__(self) -> None:
        from openvino.inference_engine import IECore, get_version  # newer versions have no such module

        self.version = str(get_version())
        self._core = IECore()

    def compile(self, ir_xml: Path, asked: Asked) -> Compiled2021:
        """Reads, reshapes and loads; `open_side` has no use, as this reader refuses sizes that are left open."""
        with _runtime_errors():
            network = self._core.read_network(str(ir_xml), str(ir_xml.with_suffix(".bin")))
            inputs = network.input_info
        if len(inputs) != 1:
            raise ContractError(f"network: got {len(inputs)} inputs, wanted 1")
        (name,) = inputs
        properties = {}
        if asked.threads is not None:
            properties["CPU_THREADS_NUM"] = str(asked.threads)
        if asked.precision is not None and "ENFORCE_BF16" in self._core.get_metric("CPU", "SUPPORTED_CONFIG_KEYS"):
            properties["ENFORCE_BF16"] = "YES" if asked.precision == "bf16" else "NO"
        with _runtime_errors():
            if asked.batch is not None:
                network.reshape({name: [asked.batch, *inputs[name].input_data.shape[1:]]})
            loaded = self._core.load_network(network, asked.device, config=properties, num_requests=1)
            only = self._core.get_metric(asked.device, "OPTIMIZATION_CAPABILITIES") == ["FP16"]
        return Compiled2021(loaded, name, only_precision="f16" if only else None)


class Compiled2021:
    """One network with one request, see `interface.CompiledNetwork`."""

    def __init__(self, loaded: Any, name: str, only_precision: str | None) -> None:
        self._loaded = loaded  # a request does not keep its network
        self._request = loaded.requests[0]
        self.input_data: np.ndarray[Any, Any] = self._request.input_blobs[name].buffer
        properties = loaded.get_metric("SUPPORTED_CONFIG_KEYS")
        self.precision = only_precision
        if "ENFORCE_BF16" in properties:
            self.precision = "bf16" if loaded.get_config("ENFORCE_BF16") == "YES" else "f32"
        threads = int(loaded.get_config("CPU_THREADS_NUM")) if "CPU_THREADS_NUM" in properties else 0
        self.threads = threads or None  # 0 leaves them to the runtime, which does not say how many it takes

    def run_once(self) -> None:
        """Waits for an asynchronous request, as newer runtimes do."""
        with _runtime_errors():
            self._request.async_infer()
            status = self._request.wait()
        if status != 0:
            raise RuntimeError(f"the request ended with status {status}")

    def output(self) -> np.ndarray[Any, Any]:
        """Copies the blob."""
        return np.array(next(iter(self._request.output_blobs.values())).buffer)


@contextmanager
def _runtime_errors() -> Iterator[None]:
    """This interface raises plain Exceptions beside RuntimeErrors; newer ones raise RuntimeErrors alone."""
    try:
        yield
    except Exception as error:  # it has no narrower class for what a network or a device refuses
        raise RuntimeError(str(error)) from error
