"""Names of the ways from an image to a network's input, see `preprocessing.py`."""

from __future__ import annotations

from typing import Literal, cast, get_args

from modnet.errors import ConfigError

DeviceProtocol = Literal["device-256", "device-320", "device-384", "device-448", "device-512", "device-640"]
Protocol = Literal["modelcompression", "aspect", DeviceProtocol]


def device_protocol(side: int) -> DeviceProtocol:
    """The letterbox of a network that reads squares of `side` pixels.

    Raises:
        ConfigError: there is none of that side.
    """
    protocol = f"device-{side}"
    if protocol not in get_args(DeviceProtocol):
        raise ConfigError(f"no protocol for squares of {side} pixels, allowed: {', '.join(get_args(DeviceProtocol))}")
    return cast(DeviceProtocol, protocol)


def device_side(protocol: Protocol) -> int:
    """The side of the square that a letterbox protocol makes, in pixels."""
    return int(protocol.removeprefix("device-"))
