"""The inference runtime: reads an IR and runs it on made-up input. The agent's only importer of openvino."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from infra.errors import ContractError, SettingsError

try:
    from openvino import Core, get_version
except ImportError:  # OpenVINO 2022, the last with a Neural Compute Stick 2 plugin
    from openvino.runtime import Core, get_version

# The first word of a target's name says what it runs on.
_DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU", "ncs2": "MYRIAD"}


def runtime_text() -> str:
    """Name and version of the runtime, as `openvino 2026.4.1`."""
    release = re.match(r"\d+(\.\d+)*", get_version())
    return f"openvino {release.group() if release else get_version()}"


def device_of(target: str) -> str:
    """The runtime's name of the device that a target runs on: `CPU` for `cpu-int8`.

    Raises:
        SettingsError: the target's first word names no device.
    """
    word = target.split("-")[0]
    if word not in _DEVICES:
        raise SettingsError(f"target {target!r}: got first word {word!r}, wanted one of {sorted(_DEVICES)}")
    return _DEVICES[word]


class LoadedModel:
    """A compiled network with its input in place.

    Attributes:
        input_shape: batch first.
        precision: of the execution, as the runtime reads it back (`f32`, `bf16`, `f16`); None when it does not say.
        threads: inference threads as the runtime reads them back; None when it does not say.
        load_ms: reading and compiling, milliseconds.
    """

    def __init__(self, compiled: Any, input_shape: tuple[int, ...], load_ms: float) -> None:
        self._request = compiled.create_infer_request()
        self.input_shape = input_shape
        self.load_ms = load_ms
        precision = _property(compiled, "INFERENCE_PRECISION_HINT")
        self.precision: str | None = precision.to_string() if hasattr(precision, "to_string") else precision or None
        threads = _property(compiled, "INFERENCE_NUM_THREADS")
        self.threads: int | None = None if threads is None else int(threads)

    def fill_input(self, seed: int) -> None:
        """Writes the same random image for the same seed: 0 to 255 for integer inputs, -1 to 1 for others."""
        data = self._request.get_input_tensor().data
        generator = np.random.default_rng(seed)
        if np.issubdtype(data.dtype, np.integer):
            data[:] = generator.integers(0, 256, data.shape)
        else:
            data[:] = generator.uniform(-1.0, 1.0, data.shape)

    def run_once(self) -> None:
        """One inference on the input in place; nothing is copied in or out.

        Raises:
            ContractError: the runtime cannot run the network.
        """
        try:
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise ContractError(f"{runtime_text()} cannot run the network: {_first_lines(error)}") from error

    def output(self) -> np.ndarray[Any, Any]:
        """A copy of the first output of the last inference."""
        return np.array(self._request.get_output_tensor(0).data)


def load_ir(
    ir_xml: Path,
    *,
    device: str = "CPU",
    threads: int | None = None,
    batch: int | None = None,
    open_side: int = 512,
    hints: Mapping[str, str] | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Reads and compiles an IR for low latency and fills its input.

    Args:
        ir_xml: the `.xml`; the `.bin` stands beside it.
        device: as the runtime names it: `CPU`, `GPU`, `MYRIAD`.
        threads: inference threads; None leaves them to the runtime.
        batch: images per inference; None keeps the IR's own, 1 where it is open.
        open_side: what an open height and width become, pixels.
        hints: more properties of the device, as `{"INFERENCE_PRECISION_HINT": "f32"}`.
        seed: of the input.

    Raises:
        SettingsError: the runtime has no such device here.
        ContractError: the runtime cannot read, reshape or compile the network.
    """
    core = _core()
    if device not in {name.split(".")[0] for name in core.available_devices}:
        raise SettingsError(f"device {device}: {runtime_text()} finds only {core.available_devices} here")
    properties = {"PERFORMANCE_HINT": "LATENCY", **(hints or {})}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = str(threads)
    start_ns = time.perf_counter_ns()
    try:
        network = core.read_model(str(ir_xml))
        input_shape = _reshape(network, batch, open_side)
        compiled = core.compile_model(network, device, properties)
        model = LoadedModel(compiled, input_shape, load_ms=(time.perf_counter_ns() - start_ns) / 1e6)
    except RuntimeError as error:
        raise ContractError(f"{runtime_text()} refuses {ir_xml.name} on {device}: {_first_lines(error)}") from error
    model.fill_input(seed)
    return model


@cache
def _core() -> Any:
    """One for the life of the process.

    OpenVINO's CPU plugin changes the thread's alternate signal stack, and of two cores that go in the order in which
    they came, the second puts back memory that the first has freed: the next SIGTERM would then kill the agent.
    """
    return Core()


def _reshape(network: Any, batch: int | None, open_side: int) -> tuple[int, ...]:
    """Fixes every size of the input, also the batch where one is asked for, and returns them."""
    if len(network.inputs) != 1:
        raise ContractError(f"network: got {len(network.inputs)} inputs, wanted 1")
    only = network.inputs[0]
    shape = only.partial_shape
    if shape.rank.is_dynamic:
        raise ContractError(f"network: got input shape {shape}, wanted one of a known number of dimensions")
    if batch is not None or shape.is_dynamic:
        sizes = [open_side if size.is_dynamic else size.get_length() for size in shape]
        sizes[0] = batch or (1 if shape[0].is_dynamic else sizes[0])
        network.reshape({only: sizes})
    return tuple(int(size) for size in network.inputs[0].shape)


def _property(compiled: Any, name: str) -> Any:
    """A property of a compiled network; None when its device does not have it."""
    return compiled.get_property(name) if name in compiled.get_property("SUPPORTED_PROPERTIES") else None


def _first_lines(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:500]
