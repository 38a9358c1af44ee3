"""What a flow run is doing right now: below its log on a terminal, and every 30 seconds in a log file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.device.shown import shown

LINES_EVERY_S = 30.0
_REDRAW_EVERY_S = 2.0
_BAR = 20  # characters
_UP_AND_CLEAR = "\x1b[{}F\x1b[J"


class Screen:
    """Log lines that stay, and below them lines that are drawn anew; without a terminal these are written as well."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._drawn: list[str] = []
        self._shown_at = time.monotonic()

    def log(self, line: str) -> None:
        """Writes a line that stays."""
        drawn = self._drawn
        self.clear()
        self._write([line])
        self._draw(drawn)

    def is_due(self) -> bool:
        """True when it is time to `show` again."""
        return time.monotonic() - self._shown_at >= (_REDRAW_EVERY_S if self._is_terminal else LINES_EVERY_S)

    def show(self, lines: Sequence[str]) -> None:
        """Shows what is under way in place of what was shown before."""
        self._shown_at = time.monotonic()
        self.clear()
        if self._is_terminal:
            self._draw(lines)
        else:
            self._write([f"{datetime.now():%H:%M:%S} under way: {line}" for line in lines])

    def clear(self) -> None:
        """Takes away what is drawn anew; the log stays."""
        if self._drawn:
            sys.stdout.write(_UP_AND_CLEAR.format(len(self._drawn)))
            sys.stdout.flush()
            self._drawn = []

    def _draw(self, lines: Sequence[str]) -> None:
        width = shutil.get_terminal_size().columns - 1  # a longer line would take two, and only one be cleared
        self._drawn = [line[:width] for line in lines]
        self._write(self._drawn)

    def _write(self, lines: Sequence[str]) -> None:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def under_way(
    task_runs: Iterable[Mapping[str, Any]], progress: Iterable[Mapping[str, Any]], now: datetime | None = None
) -> list[str]:
    """One line for each task run: its name and for how long; where it shows progress also bar, facts and time left.

    Args:
        task_runs: that are running, as Prefect says it: `id`, `name` and `start_time`.
        progress: artifacts: `task_run_id`, `data` in per cent, and `description`, the facts behind its first colon.
        now: the time; by default that of the clock.
    """
    now = datetime.now(UTC) if now is None else now
    told = {one["task_run_id"]: one for one in progress}
    lines = []
    for run in sorted(task_runs, key=lambda run: str(run["start_time"])):
        if run["start_time"] is None:
            continue
        elapsed = max(timedelta(), now - datetime.fromisoformat(run["start_time"]))
        parts = [f"{_time(elapsed)} so far"]
        name = shown(run["name"])
        if run["id"] in told:
            share = min(1.0, float(told[run["id"]]["data"] or 0) / 100)
            name += f" [{'#' * round(_BAR * share):-<{_BAR}}] {100 * share:.0f} %"
            facts = shown(str(told[run["id"]].get("description") or "").partition(": ")[2])
            parts = [*([facts] if facts else []), *parts]
            if share > 0:
                parts.append(f"{_time(elapsed / share - elapsed)} left")
        lines.append(f"{name}: {', '.join(parts)}")
    return lines


def _time(passed: timedelta) -> str:
    """75 seconds as `1:15`, 3675 as `1:01:15`."""
    text = str(timedelta(seconds=round(passed.total_seconds())))
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text
