"""What a Neural Compute Stick 2 needs of this machine, as far as it can be seen without opening it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from infra.device.cli.findings import NOTE, OK, WRONG, Finding

VENDOR = "03e7"
RULE = f'SUBSYSTEM=="usb", ATTRS{{idVendor}}=="{VENDOR}", MODE="0666"'
_LIBRARY = "libusb-1.0.so.0"


def stick_findings(root: Path = Path("/")) -> Iterator[Finding]:
    """libusb, the udev rule, the stick itself, and whether this user may open it.

    Args:
        root: where `sys`, `dev` and `etc` stand.
    """
    try:
        ctypes.CDLL(_LIBRARY)
        yield Finding("libusb", OK, _LIBRARY)
    except OSError as error:
        yield Finding("libusb", WRONG, f"{error}: apt-get install libusb-1.0-0")
    if not _has_rule(root):
        yield Finding(
            "udev rule",
            NOTE,
            f"none names USB vendor {VENDOR}, so only root may open the stick: write {RULE!r} to "
            "/etc/udev/rules.d/97-ncs2.rules, then udevadm control --reload-rules && udevadm trigger",
        )
    sticks = [path.parent for path in (root / "sys/bus/usb/devices").glob("*/idVendor") if _text(path) == VENDOR]
    if not sticks:
        yield Finding("stick", WRONG, f"no USB device of vendor {VENDOR}: plug it in, into USB 3 or a powered hub")
    for stick in sticks:
        bus, number = _text(stick / "busnum"), _text(stick / "devnum")
        node = root / "dev/bus/usb" / bus.zfill(3) / number.zfill(3)
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding("stick", OK, f"{node}, USB {_text(stick / 'version')}")
        else:
            yield Finding("stick", WRONG, f"{node}: this user may not open it; the udev rule is {RULE!r}")


def _has_rule(root: Path) -> bool:
    folders = [root / "etc/udev/rules.d", root / "lib/udev/rules.d", root / "usr/lib/udev/rules.d"]
    return any(VENDOR in _text(path) for folder in folders for path in folder.glob("*.rules"))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
