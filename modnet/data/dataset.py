"""Training samples and their order, both functions of (seed, epoch) alone."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from modnet.configs import AugmentationConfig
from modnet.data.archives import Pair
from modnet.data.augmentation import alpha_of, augment
from modnet.data.decoded import Decoded, DecodedCache, read_shrunk_image, read_shrunk_pair
from modnet.data.images import Image, Matte16, normalise
from modnet.data.trimap import trimap_from_alpha
from modnet.errors import ConfigError, DatasetError

KEPT_SHORT_SIDE = 1.5  # of a decoded image, as a multiple of the sample's side: a crop of half of it grows by 4/3
CACHE_BYTES = 512 * 2**20

_AUGMENTING, _TRIMAP = 0, 1  # what a generator of a sample is for

_Item = TypeVar("_Item")
_Batched = TypeVar("_Batched", "Sample", "UnlabelledSample")


class Sample(NamedTuple):
    """One training sample; `batch_of` stacks several.

    Attributes:
        image: float32 (3, S, S), RGB, [-1, 1].
        trimap: float32 (1, S, S), {0, 0.5, 1}.
        alpha: float32 (1, S, S), [0, 1].
    """

    image: torch.Tensor
    trimap: torch.Tensor
    alpha: torch.Tensor


class UnlabelledSample(NamedTuple):
    """A training sample whose matte nobody knows; `batch_of` stacks several.

    Attributes:
        image: float32 (3, S, S), RGB, [-1, 1].
    """

    image: torch.Tensor


class _Images:
    """What both kinds of data set share: files, epoch, augmentation, and the cache of decoded images."""

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        size: int,
        seed: int,
        augment: AugmentationConfig | bool,
        cache_bytes: int,
    ) -> None:
        if size < 32 or size % 32:
            raise ConfigError(f"side of a sample: got {size}, wanted a positive multiple of 32")
        if isinstance(augment, bool):
            augment = AugmentationConfig() if augment else AugmentationConfig.none()
        self.folder, self.size, self.seed, self.augment = folder, size, seed, augment
        self.epoch = 0
        self._count = count
        self._cache = DecodedCache(cache_bytes)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose samples come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count

    def divided(self, parts: int) -> Self:
        """A copy for one of several processes, whose caches together keep to the bound of this one's."""
        copied = copy.copy(self)
        copied._cache = DecodedCache(self._cache.max_bytes // parts)
        return copied

    def _augmented(self, index: int) -> tuple[Image, Matte16]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        rng = _rng(self.seed, self.epoch, index, _AUGMENTING)

        def draw_other() -> Decoded | None:
            try:
                return self._decoded(int(rng.integers(len(self))))
            except DatasetError:  # it is named and counted where its own sample comes
                return None

        return augment(*self._decoded(index), self.size, self.augment, rng, draw_other)

    def _decoded(self, index: int) -> Decoded:
        return self._cache.get(index, lambda: self._read(index, round(KEPT_SHORT_SIDE * self.size)))

    def _read(self, index: int, short_side: int) -> Decoded:
        raise NotImplementedError


class MattingDataset(_Images, Dataset[Sample]):
    """Pairs of image and matte as square training samples.

    A sample depends on (seed, epoch, index) only, not on who asks for it when. Its trimap has a generator of its own:
    another augmentation draws the same kernel and iterations.
    """

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[Pair],
        *,
        size: int = 512,
        seed: int = 0,
        augment: AugmentationConfig | bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Makes a data set in epoch 0; reads no file yet.

        Args:
            folder: what the paths of the pairs are relative to.
            size: side S of a sample in pixels, a multiple of 32.
            augment: how; True is the default config, False `AugmentationConfig.none()`.
            cache_bytes: most memory for decoded images.

        Raises:
            DatasetError: no pairs.
            ConfigError: the size is not a positive multiple of 32.
        """
        if not pairs:
            raise DatasetError(f"no pairs to train on in {folder}")
        super().__init__(folder, len(pairs), size=size, seed=seed, augment=augment, cache_bytes=cache_bytes)
        self.pairs = tuple(pairs)

    def __getitem__(self, index: int) -> Sample:
        """The sample at an index from 0.

        Raises:
            IndexError: no such index.
            DatasetError: the pair cannot be read; names the file.
        """
        image, matte = self._augmented(index)
        alpha = alpha_of(matte)
        trimap = trimap_from_alpha(alpha, _rng(self.seed, self.epoch, index, _TRIMAP))
        return Sample(torch.from_numpy(normalise(image)), torch.from_numpy(trimap)[None], torch.from_numpy(alpha)[None])

    def _read(self, index: int, short_side: int) -> Decoded:
        pair = self.pairs[index]
        return read_shrunk_pair(self.folder / pair.image, self.folder / pair.matte, short_side)


class UnlabelledDataset(_Images, Dataset[UnlabelledSample]):
    """Images without mattes, for distillation and self-supervised adaptation.

    Augmented as `MattingDataset`, with two differences that follow from having no matte: crops are placed anywhere, and
    backgrounds stay.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[str],
        *,
        size: int = 512,
        seed: int = 0,
        augment: AugmentationConfig | bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Makes a data set in epoch 0; reads no file yet.

        Args:
            folder: what the paths of the images are relative to.
            images: as `modnet.data.archives.find_images` gives them.
            size: side S of a sample in pixels, a multiple of 32.
            augment: how; True is the default config, False `AugmentationConfig.none()`.
            cache_bytes: most memory for decoded images.

        Raises:
            DatasetError: no images.
            ConfigError: the size is not a positive multiple of 32.
        """
        if not images:
            raise DatasetError(f"no images to train on in {folder}")
        super().__init__(folder, len(images), size=size, seed=seed, augment=augment, cache_bytes=cache_bytes)
        self.augment = self.augment.model_copy(update={"background": 0.0})
        self.images = tuple(images)

    def __getitem__(self, index: int) -> UnlabelledSample:
        """The sample at an index from 0.

        Raises:
            IndexError: no such index.
            DatasetError: the image cannot be read; names the file.
        """
        return UnlabelledSample(torch.from_numpy(normalise(self._augmented(index)[0])))

    def _read(self, index: int, short_side: int) -> Decoded:
        return read_shrunk_image(self.folder / self.images[index], short_side)


def batch_of(samples: Sequence[_Batched]) -> _Batched:
    """Stacks samples of one kind: every tensor gets a leading dimension B."""
    return type(samples[0])(*(torch.stack(tensors) for tensors in zip(*samples, strict=True)))


def batch_indices(count: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch: every index below `count` once, in an order that depends on (seed, epoch) only.

    A last batch of a single sample joins the one before it, since batch statistics of one sample teach little;
    other short last batches stay. So nothing is left out, and a batch has at most `batch_size + 1` samples.

    Raises:
        ConfigError: the batch size is not positive.
    """
    if batch_size < 1:
        raise ConfigError(f"batch size: got {batch_size}, wanted at least 1")
    order = [int(index) for index in _rng(seed, epoch).permutation(count)]
    batches = [order[first : first + batch_size] for first in range(0, count, batch_size)]
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def prefetch(items: Iterable[_Item], depth: int = 2) -> Generator[_Item, None, None]:
    """The same items in the same order, computed by one thread up to `depth` items ahead.

    An exception of the source is raised where its item would have come. Left early, it waits for the item that is
    being computed and starts no other.
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


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
