"""What one device may send and store, so that none fills the disk or keeps the others waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.device.stores.object_store import ObjectStore
from infra.ingest.refusal import RefusedError


@dataclass(frozen=True)
class Limits:
    """Of one device.

    Attributes:
        reports: stored at most.
        stored_bytes: of them at most.
        per_minute: requests at most, and so many at once after a pause.
    """

    reports: int = 5_000
    stored_bytes: int = 32 << 20
    per_minute: int = 60


@dataclass
class Rate:
    """Requests a minute at most, and so many at once after a pause."""

    per_minute: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._left, self._counted_at = float(self.per_minute), self.clock()

    def takes(self) -> bool:
        """Counts a request, and says whether it is one of those."""
        now = self.clock()
        self._left = min(float(self.per_minute), self._left + (now - self._counted_at) * self.per_minute / 60)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass
class Allowance:
    """What is left to one device. What it has stored is asked of the store, at first and when there seems too much."""

    name: str
    limits: Limits
    clock: Callable[[], float] = time.monotonic
    stored: tuple[int, int] | None = None
    rate: Rate = field(init=False)

    def __post_init__(self) -> None:
        self.rate = Rate(self.limits.per_minute, self.clock)

    def take_request(self) -> None:
        """Counts a request.

        Raises:
            RefusedError: too many within a minute.
        """
        if not self.rate.takes():
            raise RefusedError(
                429,
                "rate",
                f"device {self.name!r}: more than {self.limits.per_minute} reports a minute, try again later",
            )

    def require_room(self, store: ObjectStore, size_bytes: int) -> None:
        """Asks whether a report of this size may be stored.

        Raises:
            RefusedError: too many or too large in all.
            StoreUnavailableError: the store does not say what there is.
        """
        if self.stored is None or not self._has_room(*self.stored, size_bytes):
            sizes = store.sizes(f"reports/{self.name}/").values()
            self.stored = (len(sizes), sum(sizes))
        if not self._has_room(*self.stored, size_bytes):
            raise RefusedError(
                403,
                "quota",
                f"device {self.name!r}: has {self.stored[0]} reports of {self.stored[1]} bytes in the store, wanted at "
                f"most {self.limits.reports} and {self.limits.stored_bytes}; remove some below reports/{self.name}/",
            )

    def add_stored(self, size_bytes: int) -> None:
        """Counts a report that was stored."""
        assert self.stored is not None
        self.stored = (self.stored[0] + 1, self.stored[1] + size_bytes)

    def _has_room(self, count: int, total_bytes: int, size_bytes: int) -> bool:
        return count < self.limits.reports and total_bytes + size_bytes <= self.limits.stored_bytes
