"""Batches, computed ahead of the training: the same whatever the number of processes that compute them."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from modnet.data.batches import batch_of, prefetch
from modnet.data.loading_worker import LoadingWorker, Reading, Samples, read_or_next
from modnet.errors import ConfigError, DatasetError

_Kind = TypeVar("_Kind", bound=tuple[Any, ...])

logger = logging.getLogger(__name__)


class BatchLoader(AbstractContextManager["BatchLoader[_Kind]"], Generic[_Kind]):
    """Loads the batches of one epoch after the other; a context manager, at whose end its processes end.

    Without workers a thread computes ahead. With workers, sample `index` is always computed by worker `index %
    workers`, so that each keeps its own part of the decoded images, and the caches together keep to the data set's
    bound. Workers start with the first epoch and stay for the others.

    A sample that cannot be read is replaced by the next in the order of indices that can. Every such file is logged and
    counted once, however many epochs it fails in; `unreadable` is the error, which names it, by index.
    """

    def __init__(self, dataset: Samples[_Kind], *, workers: int = 0, max_unreadable: int = 0) -> None:
        """Makes a loader; starts nothing yet. The data set must not change any more, except for its epoch.

        Args:
            workers: processes that compute samples, beside this one.
            max_unreadable: how many different samples may be replaced before `load` raises.

        Raises:
            ConfigError: a negative number.
        """
        for name, number in (("workers", workers), ("max_unreadable", max_unreadable)):
            if number < 0:
                raise ConfigError(f"{name}: got {number}, wanted at least 0")
        self.dataset: Samples[_Kind] = dataset
        self.max_unreadable = max_unreadable
        self.unreadable: dict[int, str] = {}
        self._worker_count = workers
        self._workers: list[LoadingWorker[_Kind]] = []
        self._owed = 0  # samples that were asked of workers and not received

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; the next `load` would start others."""
        for worker in self._workers:
            worker.close()
        self._workers, self._owed = [], 0

    def load(self, batches: Sequence[Sequence[int]]) -> Generator[_Kind, None, None]:
        """The stacked batches of these indices, in order, of the epoch that the data set is in now.

        Finish or drop what an earlier call gave before calling again.

        Raises:
            DatasetError: where a batch would come: more than `max_unreadable` samples could not be read; lists them.
            LoadingError: where a batch would come: a worker has ended.
        """
        indices = [index for batch in batches for index in batch]
        if self._worker_count:
            readings = self._asked(indices)
        else:
            readings = (read_or_next(self.dataset, index, self.max_unreadable) for index in indices)
        return prefetch(batch_of([self._accepted(next(readings)) for _ in batch]) for batch in batches)

    def _asked(self, indices: Sequence[int]) -> Iterator[Reading[_Kind]]:
        if self._owed:  # an epoch was left early, and its samples still come
            self.close()
        count = self._worker_count
        if not self._workers:
            self._workers = [LoadingWorker(self.dataset.divided(count), self.max_unreadable) for _ in range(count)]
        for number, worker in enumerate(self._workers):
            worker.ask(self.dataset.epoch, [index for index in indices if index % count == number])
        self._owed = len(indices)
        return self._received(indices)

    def _received(self, indices: Sequence[int]) -> Iterator[Reading[_Kind]]:
        for index in indices:
            reading = self._workers[index % self._worker_count].receive()
            self._owed -= 1
            yield reading

    def _accepted(self, reading: Reading[_Kind]) -> _Kind:
        for index, problem in reading.unreadable:
            if index not in self.unreadable:
                self.unreadable[index] = problem
                logger.warning("unreadable, another sample takes its place: %s", problem)
        if reading.sample is None or len(self.unreadable) > self.max_unreadable:
            raise DatasetError(
                f"{len(self.unreadable)} of {len(self.dataset)} samples cannot be read, at most {self.max_unreadable} "
                f"are allowed (max_unreadable): {'; '.join(self.unreadable.values())}"
            )
        return reading.sample
