"""What waits for a network must move: whoever answers a byte a minute is as good as away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Callable

from infra.device.errors import StoreUnavailableError
from infra.device.notify import ALIVE, notify

# Stores write a file in parts of 1 MiB, so something must come every 120 s: at least 9 kB/s.
DOWNLOAD_WINDOW_S = 120.0
ASKED_WITHIN_S = 300.0


@contextmanager
def must_move(what: str, window_s: float, progress: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Interrupts the block where its progress stands still; a signal does, as it may block in a socket.

    For the main thread. Clients that retry are interrupted again.

    Args:
        what: for the message.
        window_s: in which progress must change; without a measure of progress, how long the block may take.
        progress: any number that changes with it.

    Raises:
        StoreUnavailableError: it stood still.
    """
    last = progress()

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, progress()
        if last == before:
            raise StoreUnavailableError(
                f"{what}: nothing came for {window_s:g} s; the network or the store is too slow"
            )
        notify(ALIVE)  # a large network may take a slow line longer than the unit's WatchdogSec

    handler = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, window_s, window_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def bytes_below(folder: Path) -> int:
    """Size of all files below a folder, also of those that are being written."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # removed meanwhile
            continue
    return total
