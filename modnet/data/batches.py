"""Which samples make a batch, stacking them, and computing them ahead."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch

from modnet.errors import ConfigError

_Item = TypeVar("_Item")
_Sample = TypeVar("_Sample", bound=tuple[Any, ...])


def batch_of(samples: Sequence[_Sample]) -> _Sample:
    """Stacks samples of one kind: every tensor gets a leading dimension B."""
    return type(samples[0])(*(torch.stack(tensors) for tensors in zip(*samples, strict=True)))


def batch_indices(count: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch: every index below `count` once, in an order that depends on (seed, epoch) only.

    A last batch of a single sample, whose batch statistics teach little, joins the one before it: a batch has at most
    `batch_size + 1` samples.

    Raises:
        ConfigError: the batch size is not positive.
    """
    if batch_size < 1:
        raise ConfigError(f"batch size: got {batch_size}, wanted at least 1")
    order = [int(index) for index in generator_of(seed, epoch).permutation(count)]
    batches = [order[first : first + batch_size] for first in range(0, count, batch_size)]
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def prefetch(items: Iterable[_Item], depth: int = 2) -> Generator[_Item, None, None]:
    """The same items in the same order, computed by one thread up to `depth` items ahead.

    An exception of the source is raised where its item would have come. Left early, it waits for the item under way.
    """
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        ahead = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]  # not `end`, so an item
    finally:
        pool.shutdown(cancel_futures=True)


def generator_of(seed: int, *key: int) -> np.random.Generator:
    """A generator of random numbers that depends on these numbers only."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
