"""A log that those who may not even send cannot fill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class AtMost(logging.Filter):
    """Lets so many lines of each level pass in a minute; the next line after it says how many did not.

    Args:
        lines: of each level, each minute.
        clock: in seconds.
    """

    def __init__(self, lines: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lines, self._clock = lines, clock
        self._counts: dict[int, tuple[int, int]] = {}  # of each level: the minute, and how many lines it brought

    def filter(self, record: logging.LogRecord) -> bool:
        """Counts a line and says whether it is written."""
        minute = int(self._clock() // 60)
        before, count = self._counts.get(record.levelno, (minute, 0))
        if before != minute:
            if count > self._lines:
                left_out = f"(before this, {count - self._lines} lines were left out)"
                record.msg, record.args = f"{record.getMessage()} {left_out}", ()
            count = 0
        self._counts[record.levelno] = (minute, count + 1)
        return count < self._lines
