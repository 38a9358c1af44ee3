"""The OpenVINO runtime of this process."""

from functools import cache

import openvino as ov

from modnet.errors import ConfigError
from modnet.targets import LEGACY_RUNTIMES

_STICK = (
    f". A Neural Compute Stick 2 wants OpenVINO {' or '.join(LEGACY_RUNTIMES)}, as no later one drives it: "
    "`make legacy-runtimes` installs them, and the edge agent measures with them (--target ncs2-fp16)"
)


@cache
def core() -> ov.Core:
    """The one `Core` of this process, kept as long as it lives.

    OpenVINO's CPU plugin gives the calling thread an alternate signal stack and takes it back when its `Core` goes. Of
    two that go in the order in which they came, the second puts back the stack that the first has unmapped, and the
    next signal with a handler (SIGCHLD of a data-loading worker, SIGTERM) kills the process. Seen with 2026.4.1.
    """
    return ov.Core()


def device_here(device: str) -> str:
    """OpenVINO's own spelling of a device of this machine: `CPU` for `cpu`, `GPU.1` for `gpu.1`.

    Raises:
        ConfigError: OpenVINO finds no such device here; says which ones it does, and what a stick wants.
    """
    found = core().available_devices
    name = device.upper()
    if name not in found and name not in {one.split(".")[0] for one in found}:
        raise ConfigError(
            f"no device {name}: OpenVINO {ov.get_version().split('-')[0]} finds only {', '.join(found)} here"
            f"{_STICK if name.split('.')[0] == 'MYRIAD' else ''}"
        )
    return name
