"""Waits for a store that does not answer: a night outlives one that is away for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from infra.device.errors import ClockError, DamagedAnswerError, DigestMismatchError, StoreUnavailableError
from infra.errors import StoreGoneError

LONGEST_PAUSE_S = 30.0
DAMAGED_TIMES = 3
Asked = TypeVar("Asked")
_log = logging.getLogger(__name__)


def patient(
    asked: Asked,
    where: str,
    wait_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Asked:
    """The same object, each of whose methods is called again while the store behind it does not answer.

    Pauses grow from one second to LONGEST_PAUSE_S. After `wait_s` seconds a method raises StoreGoneError, which is
    worth no other try. What came damaged DAMAGED_TIMES is a DigestMismatchError: it is damaged where it is kept. A
    ClockError is raised at once. A method must leave nothing locked or half done when it raises StoreUnavailableError.

    Args:
        asked: a store, or what reads one.
        where: its address, for the error.
        wait_s: how long one call waits, seconds.
        clock, sleep: of the waiting, seconds.
    """
    return cast(Asked, _Patient(asked, where, wait_s, clock, sleep))


class _Patient:
    def __init__(
        self, asked: object, where: str, wait_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._asked, self._where, self._wait_s, self._clock, self._sleep = asked, where, wait_s, clock, sleep

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._asked, name)
        return partial(self._answer, found) if callable(found) else found

    def _answer(self, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began, pause_s, damaged = self._clock(), 1.0, 0
        while True:
            try:
                return request(*args, **kwargs)
            except ClockError:  # waiting sets no clock, and another node's may be right
                raise
            except StoreUnavailableError as error:
                damaged += isinstance(error, DamagedAnswerError)
                if damaged == DAMAGED_TIMES:  # not on its way: the store keeps it so
                    raise DigestMismatchError(str(error)) from error
                waited_s = self._clock() - began
                if waited_s + pause_s > self._wait_s:
                    raise StoreGoneError(
                        f"{self._where}: did not answer for {waited_s:.0f} s, of {self._wait_s:g} s that a run waits: "
                        f"{error}"
                    ) from error
                _log.warning("%s; trying again in %g s", error, pause_s)
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
