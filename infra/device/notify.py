"""Tells systemd how the agent stands; says nothing where no systemd asks."""

from __future__ import annotations

import os
import socket

READY, ALIVE = "READY=1", "WATCHDOG=1"


def notify(*lines: str) -> None:
    """Sends lines of sd_notify(3), as `READY=1`, to the socket that NOTIFY_SOCKET names.

    Call it with ALIVE at least once in each WatchdogSec of the unit. What cannot be sent is left unsaid: systemd then
    starts the agent anew.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        try:
            asked.settimeout(1.0)
            asked.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass
