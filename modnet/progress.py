"""How long work shows itself on stderr: a bar on a terminal, and a line now and then in a log file or a pipe."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from typing import TypeVar

Item = TypeVar("Item")

LINE_EVERY_S = 30.0
_SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Progress(AbstractContextManager["Progress"]):
    """How far one piece of work is.

    On a terminal it is a bar with the time left. Elsewhere it is a line after 30 seconds and every 30 seconds from then
    on, and at every `milestone`: work that is done sooner writes nothing.
    """

    def __init__(self, what: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begins.

        Args:
            what: is being done, as "training".
            total: how many units the whole work has; None where nobody knows.
            unit: what is counted, in the singular; "B" is shown in k, M and G.
            done: units that an earlier, cut run has done.
        """
        from tqdm import tqdm  # here, so that help need not wait for it

        self._what, self._total, self._unit, self._done = what, total, unit, done
        self._facts: dict[str, str] = {}
        self._began = self._said = time.monotonic()
        self._first = done
        self._bar = tqdm(total=total, initial=done, desc=what, unit=unit, unit_scale=unit == "B", disable=None)

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, count: int = 1, **facts: str) -> None:
        """`count` more units are done; for `facts` see `show`."""
        self._done += count
        self.show(**facts)
        self._bar.update(count)
        if time.monotonic() - self._said >= LINE_EVERY_S:
            self._say()

    def show(self, **facts: str) -> None:
        """From now on these facts stand beside the bar: name, `_` for a space, and value."""
        if facts:
            self._facts |= {name.replace("_", " "): value for name, value in facts.items()}
            self._bar.set_postfix_str(self._shown_facts(), refresh=False)

    def milestone(self, **facts: str) -> None:
        """An epoch or the like is over, which is worth a line; for `facts` see `show`."""
        self.show(**facts)
        self._say()

    def passing(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted as a unit when the next one is asked for."""
        for item in items:
            yield item
            self.advance()

    def _say(self) -> None:
        if not self._bar.disable:
            return
        self._said = now = time.monotonic()
        parts = [f"{self._what}: {self._counted()}"]
        if self._facts:
            parts.append(self._shown_facts())
        parts.append(f"{shown_seconds(now - self._began)} so far")
        if self._total and self._done > self._first:
            left = (now - self._began) / (self._done - self._first) * (self._total - self._done)
            parts.append(f"{shown_seconds(left)} left")
        sys.stderr.write(", ".join(parts) + "\n")
        sys.stderr.flush()

    def _counted(self) -> str:
        if self._unit == "B":
            return _bytes(self._done) if self._total is None else f"{_bytes(self._done)} of {_bytes(self._total)}"
        if not self._total:
            return f"{self._done} {self._unit}s"
        return f"{self._done} of {self._total} {self._unit}s ({100 * self._done / self._total:.0f} %)"

    def _shown_facts(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._facts.items())


def progress_over(items: Iterable[Item], what: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """The items, of a known number unless `total` says it, with a `Progress` while they are gone through."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total, unit) as progress:
        yield from progress.passing(items)


def shown_seconds(seconds: float) -> str:
    """75 as `1:15`, 3675 as `1:01:15`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bytes(count: int) -> str:
    for scale, name in _SCALES:
        if count >= scale:
            return f"{count / scale:.1f} {name}B"
    return f"{count} B"
