"""Names of the ways from an image to a network's input, see `preprocessing.py`."""

import re

from modnet.errors import ConfigError
from modnet.targets import LONGEST_SIDE, STRIDE, Shape, is_readable

Protocol = str
"""`modelcompression`, `aspect`, or a letterbox: `device-512` is of 512×512 pixels, `device-480x320` of 480 rows."""

OPEN_PROTOCOLS = ("modelcompression", "aspect")  # protocols of networks that read any size


def letterbox(shape: Shape) -> Protocol:
    """The protocol of a network that reads only this height and width.

    Raises:
        ConfigError: a side that is no positive multiple of 32, or absurd.
    """
    if not is_readable(shape):
        sides = f"sides are multiples of {STRIDE} from {STRIDE} to {LONGEST_SIDE}"
        raise ConfigError(f"no letterbox of {shape[0]}×{shape[1]} pixels: {sides}")
    height, width = shape
    return f"device-{height}" if height == width else f"device-{height}x{width}"


def letterbox_shape(protocol: Protocol) -> Shape | None:
    """Height and width of a letterbox; None for protocols of any size.

    Raises:
        ConfigError: no protocol; says what there is.
    """
    if protocol in OPEN_PROTOCOLS:
        return None
    found = re.fullmatch(r"device-(\d{2,4})(?:x(\d{2,4}))?", protocol)
    if found is None:
        raise ConfigError(
            f"preprocessing protocol: got {protocol!r}, wanted {', '.join(OPEN_PROTOCOLS)}, or a letterbox as "
            "device-512 or device-480x320 (height x width)"
        )
    shape = (int(found[1]), int(found[2] or found[1]))
    if protocol != (name := letterbox(shape)):
        raise ConfigError(f"preprocessing protocol: got {protocol!r}, wanted {name!r}")
    return shape
