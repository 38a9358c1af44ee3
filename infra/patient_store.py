"""An object store that waits for the real one: a night outlives a store that is away for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from infra.device.errors import StoreUnavailableError
from infra.device.stores.object_store import ObjectStore
from infra.errors import StoreGoneError

LONGEST_PAUSE_S = 30.0
_log = logging.getLogger(__name__)


def patient(
    store: ObjectStore,
    wait_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ObjectStore:
    """The same store, whose every request is made again while the store does not answer, up to `wait_s` seconds.

    Pauses grow from one second to LONGEST_PAUSE_S. Then it raises StoreGoneError, which is worth no other try.
    """
    return cast(ObjectStore, _Patient(store, wait_s, clock, sleep))


class _Patient:
    def __init__(
        self, store: ObjectStore, wait_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._store, self._wait_s, self._clock, self._sleep = store, wait_s, clock, sleep

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return partial(self._answer, found) if callable(found) else found

    def _answer(self, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began, pause_s = self._clock(), 1.0
        while True:
            try:
                return request(*args, **kwargs)
            except StoreUnavailableError as error:
                waited_s = self._clock() - began
                if waited_s + pause_s > self._wait_s:
                    raise StoreGoneError(
                        f"{self._store.url}: did not answer for {waited_s:.0f} s, of {self._wait_s:g} s that a run "
                        f"waits: {error}"
                    ) from error
                _log.warning("%s; trying again in %g s", error, pause_s)
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
