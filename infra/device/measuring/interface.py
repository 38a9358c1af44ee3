"""What one generation of OpenVINO must do; `runtime` chooses the one that is installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np


class Asked(NamedTuple):
    """How a network is compiled, see `runtime.load_ir`."""

    device: str
    threads: int | None
    precision: str | None
    batch: int | None
    open_side: int
    shape: tuple[int, int] | None = None  # height and width, instead of the IR's own


class CompiledNetwork(Protocol):
    """A network compiled for a device, with one request.

    Attributes:
        input_data: the input in place, every size fixed, batch first.
        precision: of the execution (`f32`, `bf16`, `f16`); None when the runtime does not say.
        threads: inference threads; None when the runtime does not say.
    """

    input_data: np.ndarray[Any, Any]
    precision: str | None
    threads: int | None

    def run_once(self) -> None:
        """One inference, finished when it returns; RuntimeError when the runtime fails."""

    def output(self) -> np.ndarray[Any, Any]:
        """A copy of the first output."""


class Runtime(ABC):
    """What one generation of OpenVINO must do; what the library itself refuses is a RuntimeError with its words.

    Its one core lives as long as this object.
    """

    version: str
    _core: Any

    def devices(self) -> list[str]:
        """Names of the devices that are there, as `CPU`, `GPU.0`, `MYRIAD`."""
        return [str(name) for name in self._core.available_devices]

    def has_plugin(self, device: str) -> bool:
        """Whether it knows devices of this kind; RuntimeError when it does, and its plugin cannot be loaded.

        Loads the plugin by asking for its version. Without one 2021 and 2022 raise, and newer ones answer nothing.
        """
        try:
            return bool(self._core.get_versions(device))
        except RuntimeError as error:
            if "is not registered" in str(error):
                return False
            raise

    @abstractmethod
    def compile(self, ir_xml: Path, asked: Asked) -> CompiledNetwork:
        """The network, compiled for low latency; see `load_ir`."""
