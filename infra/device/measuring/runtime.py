"""The inference runtime: reads an IR and runs it on made-up input, on any OpenVINO since 2021.4."""

from __future__ import annotations

import re
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.device.errors import ContractError, DeviceMissingError, InfraError, SettingsError
from infra.device.measuring.interface import Asked, CompiledNetwork, Runtime

if TYPE_CHECKING:
    import numpy as np

# The first word of a target's name says what it runs on.
_DEVICES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU", "ncs2": "MYRIAD"}

_STICK = "a Neural Compute Stick 2 (device MYRIAD)"
# What helps, by device and by what is amiss.
_NO_PLUGIN = {"MYRIAD": f"; the last openvino on PyPI for {_STICK} is 2021.4.2, for Python 3.9"}
_BROKEN_PLUGIN = {"MYRIAD": f"; {_STICK} needs libusb-1.0.so.0, on Debian the package libusb-1.0-0"}
_MISSING = {
    "MYRIAD": "; plug the stick in (into USB 3, or a hub with power of its own), and let this user open it by a udev "
    "rule for the USB vendor 03e7"
}
# In all that the stick's plugin says when it cannot open the stick or has lost it; a network that is too large is
# another word (NC_OUT_OF_MEMORY).
_STICK_LOST = "NC_ERROR"


def runtime_text() -> str:
    """Name and version of the runtime, as `openvino 2026.4.1`.

    Raises:
        SettingsError: none can be imported.
    """
    version = _runtime().version
    release = re.match(r"\d+(\.\d+)*", version)
    return f"openvino {release.group() if release else version}"


def device_of(target: str) -> str:
    """The runtime's name of the device that a target runs on: `CPU` for `cpu-int8`.

    Raises:
        SettingsError: the target's first word names no device.
    """
    word = target.split("-")[0]
    if word not in _DEVICES:
        raise SettingsError(f"target {target!r}: got first word {word!r}, wanted one of {sorted(_DEVICES)}")
    return _DEVICES[word]


def check_device_kind(device: str) -> None:
    """Refuses a kind of device that this runtime can never use here; one that is only not there now passes.

    Raises:
        SettingsError: the runtime has no plugin for it, or what it has cannot be loaded.
    """
    try:
        known = _runtime().has_plugin(device)
    except RuntimeError as error:
        what = f"device {device}: {runtime_text()} cannot load its plugin: {_first_lines(error)}"
        raise SettingsError(what + _BROKEN_PLUGIN.get(device, "")) from error
    if not known:
        what = f"device {device}: {runtime_text()} has no plugin for it and finds only {_runtime().devices()} here"
        raise SettingsError(what + _NO_PLUGIN.get(device, ""))


def devices() -> list[str]:
    """The runtime's names of the devices that are there now.

    Raises:
        SettingsError: no runtime can be imported.
    """
    return _runtime().devices()


def check_device(device: str) -> None:
    """Refuses a device that is not there now.

    Raises:
        SettingsError: as `check_device_kind`.
        DeviceMissingError: the runtime knows this kind, and finds none.
    """
    check_device_kind(device)
    if device not in {name.split(".")[0] for name in devices()}:
        what = f"device {device}: {runtime_text()} finds only {devices()} here"
        raise DeviceMissingError(what + _MISSING.get(device, ""))


class LoadedModel:
    """A compiled network with its input in place.

    Attributes:
        input_shape: batch first.
        input_type: as NumPy names it, `float32` or `uint8`.
        precision: of the execution, as the runtime reads it back (`f32`, `bf16`, `f16`); None when it does not say.
        threads: inference threads as the runtime reads them back; None when it does not say.
        load_ms: reading and compiling, milliseconds.
    """

    def __init__(self, compiled: CompiledNetwork, load_ms: float) -> None:
        self._compiled = compiled
        self.input_shape = tuple(int(size) for size in compiled.input_data.shape)
        self.input_type = str(compiled.input_data.dtype)
        self.precision = compiled.precision
        self.threads = compiled.threads
        self.load_ms = load_ms

    def fill_input(self, seed: int) -> None:
        """Writes the same random image for the same seed: 0 to 255 for integer inputs, -1 to 1 for others."""
        import numpy as np  # comes with openvino, of which `_runtime` says when it is missing

        data = self._compiled.input_data
        generator = np.random.default_rng(seed)
        if np.issubdtype(data.dtype, np.integer):
            data[:] = generator.integers(0, 256, data.shape)
        else:
            data[:] = generator.uniform(-1.0, 1.0, data.shape)

    def compute(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The output (B, …) for a batch of one image (…) alone; the input in place is afterwards what it was.

        Raises:
            DeviceMissingError, ContractError: as `run_once`.
        """
        data = self._compiled.input_data
        before = data.copy()
        data[:] = image
        try:
            self.run_once()
        finally:
            data[:] = before
        return self.output()

    def run_once(self) -> None:
        """One inference on the input in place; nothing is copied in or out.

        Raises:
            DeviceMissingError: the stick is lost.
            ContractError: the runtime cannot run the network.
        """
        try:
            self._compiled.run_once()
        except RuntimeError as error:
            raise _in_our_words(error, "cannot run the network") from error

    def output(self) -> np.ndarray[Any, Any]:
        """A copy of the first output of the last inference."""
        return self._compiled.output()


def load_ir(
    ir_xml: Path,
    *,
    device: str = "CPU",
    threads: int | None = None,
    batch: int | None = None,
    open_side: int = 512,
    shape: tuple[int, int] | None = None,
    precision: str | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Reads and compiles an IR for low latency and fills its input.

    Args:
        ir_xml: the `.xml`; the `.bin` stands beside it.
        device: as the runtime names it: `CPU`, `GPU`, `MYRIAD`.
        threads: inference threads, on the CPU only; None leaves them to the runtime.
        batch: images per inference; None keeps the IR's own, 1 where it is open.
        open_side: what an open height and width become, pixels.
        shape: height and width instead of the IR's own, pixels; on OpenVINO 2022.1 and newer.
        precision: of the execution, `f32` or `bf16`, on the CPU only. None leaves it to the runtime, which takes less
            than f32 where the CPU computes faster in it. A plugin that knows no such choice is not asked: the model's
            `precision` is then None.
        seed: of the input.

    Raises:
        SettingsError: the runtime has no such kind of device, or `threads` or `precision` are not for the CPU.
        DeviceMissingError: the device is not there now, or cannot be opened.
        ContractError: the runtime cannot read, reshape or compile the network.
    """
    if device != "CPU" and (threads is not None or precision is not None):
        raise SettingsError(f"device {device}: got threads or a precision, which are set for the CPU only")
    runtime = _runtime()
    check_device(device)
    start_ns = time.perf_counter_ns()
    try:
        compiled = runtime.compile(ir_xml, Asked(device, threads, precision, batch, open_side, shape))
    except RuntimeError as error:
        raise _in_our_words(error, f"refuses {ir_xml.name} on {device}") from error
    model = LoadedModel(compiled, load_ms=(time.perf_counter_ns() - start_ns) / 1e6)
    model.fill_input(seed)
    return model


@cache
def _runtime() -> Runtime:
    """The OpenVINO that is installed, with its one core for the life of the process.

    OpenVINO's CPU plugin changes the thread's alternate signal stack, and of two cores that go in the order in which
    they came, the second puts back memory that the first has freed: the next SIGTERM would then kill the agent.
    """
    try:
        if find_spec("openvino.runtime") is None and find_spec("openvino.inference_engine") is not None:
            from infra.device.measuring.openvino_2021 import Openvino2021

            return Openvino2021()
        from infra.device.measuring.openvino_2022 import Openvino2022

        return Openvino2022()
    except ImportError as error:  # a library that openvino needs is missing, or openvino itself
        raise SettingsError(
            f"openvino cannot be imported here: {error}; install it with pip, for {_STICK} openvino==2021.4.2 in a "
            "Python 3.9 that has its shared library, libpython3.9.so.1.0"
        ) from error


def _in_our_words(error: RuntimeError, what: str) -> InfraError:
    words = _first_lines(error)
    if _STICK_LOST in words:
        return DeviceMissingError(f"device MYRIAD: {runtime_text()} does not reach it: {words}{_MISSING['MYRIAD']}")
    return ContractError(f"{runtime_text()} {what}: {words}")


def _first_lines(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:500]
