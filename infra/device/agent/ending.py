"""How the agent ends when it is told: through its `finally` blocks, and soon also where these are not reached."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WITHIN_S = 1.5

_log = logging.getLogger(__name__)


@contextmanager
def ends_when_told(exit_code: int = 0) -> Iterator[None]:
    """Within the block, SIGTERM and SIGINT end this process within 2 s; for the main thread.

    Python runs a handler when the main thread comes back from C, which may be long: looking up a name ends by itself
    alone. So a thread waits for the signal as well, and ends the process when it still runs after 1.5 s. A child that
    was started ends with it.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        _log.info("ended by %s", signal.Signals(number).name)
        sys.exit(exit_code)

    def watch() -> None:
        while numbers := os.read(read_end, 64):  # of every signal that has a handler
            if any(number in _SIGNALS for number in numbers) and not ended.wait(_WITHIN_S):
                os._exit(exit_code)
        os.close(read_end)

    handlers = {number: signal.signal(number, end) for number in _SIGNALS}
    woken = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="ending", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ended.set()
        os.close(write_end)
