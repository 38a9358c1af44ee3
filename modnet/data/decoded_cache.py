"""Decoded images, kept as long as there is room."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

Arrays = TypeVar("Arrays", bound=tuple[NDArray[Any], ...])  # an image, and what belongs to it


class DecodedCache(Generic[Arrays]):
    """Decoded images by index, up to a number of bytes.

    Nothing is evicted: in a new order every epoch, that would only push out what is needed next. A copy in another
    process starts empty.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._kept: dict[int, Arrays] = {}

    def get(self, index: int, read: Callable[[], Arrays]) -> Arrays:
        """What is kept at `index`, otherwise what `read` gives, kept when there is room."""
        if index in self._kept:
            return self._kept[index]
        decoded = read()
        size = sum(array.nbytes for array in decoded)
        if self.held_bytes + size <= self.max_bytes:
            self.held_bytes += size
            self._kept[index] = decoded
        return decoded

    def __reduce__(self) -> tuple[Any, ...]:
        return DecodedCache, (self.max_bytes,)
