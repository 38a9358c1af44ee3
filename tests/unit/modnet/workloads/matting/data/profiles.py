"""ICC profiles of three primaries, or of grey, and one curve; and what they mean, written out."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# XYZ of each primary, brought to D50, as the standards' own profiles have them
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float | None) -> bytes:
    """A profile of a display; a gamma of None is the curve of sRGB."""
    tags = {f"{name}XYZ".encode(): _xyz(primary) for name, primary in zip("rgb", primaries, strict=True)}
    return _profile(b"RGB ", {**tags, **{f"{name}TRC".encode(): _curve(gamma) for name in "rgb"}})


def grey_profile(gamma: float) -> bytes:
    """A profile of grey."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def in_srgb(image: NDArray[np.uint8], primaries: Sequence[Sequence[float]], gamma: float | None) -> NDArray[np.float64]:
    """What an image (H, W, 3) with such a profile is in sRGB, 0 to 255."""
    values = image / 255.0
    linear = _linear(values) if gamma is None else values**gamma
    linear = np.clip(linear @ np.array(primaries) @ np.linalg.inv(np.array(SRGB)), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(b"desc"), b"cprt": _text(b"text"), b"wtpt": _xyz(_D50), **tags}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + b"".join(map(_fixed, _D50))
    return header.ljust(128, b"\0") + table + body


def _text(kind: bytes) -> bytes:
    return (
        b"text" + bytes(4) + b"made here\0"
        if kind == b"text"
        else b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)
    )


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    of_srgb = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, of_srgb))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
