"""Training samples and their order, both functions of (seed, epoch) alone.

A decoded pair is shrunk until its short side is at most 1.5 times the side of a sample (so the smallest crop is
enlarged by 4/3 at most) before it is kept. Mattes are kept as uint16, in which 0 and 1 stay exact through resizing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from modnet.data.archives import Pair
from modnet.data.images import Image, normalise, read_pair, resize
from modnet.data.trimap import trimap_from_alpha
from modnet.errors import ConfigError, DatasetError

CROP_SCALE = (0.5, 1.0)  # side of the square crop, as a share of the image's short side
KEPT_SHORT_SIDE = 1.5  # of a decoded image, as a multiple of the sample's side
BRIGHTNESS, CONTRAST, COLOUR = 0.15, 0.2, 0.08  # largest change, as a share

_Item = TypeVar("_Item")
_Matte16 = NDArray[np.uint16]


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


class MattingDataset(Dataset[Sample]):
    """Pairs of image and matte as square training samples.

    With `augment`: a square crop that keeps the aspect ratio, its side uniformly 0.5 to 1.0 of the image's short side,
    placed so that it contains a random pixel of 0 < alpha < 1 when the matte has one; half of them mirrored;
    brightness, contrast and the gain of each colour slightly changed. Without: the whole image, resized to S × S
    whatever its aspect ratio, as the original trainer does. In both cases the trimap is drawn anew in each epoch.

    A sample depends on (seed, epoch, index) only, not on who asks for it when.
    """

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[Pair],
        *,
        size: int = 512,
        seed: int = 0,
        augment: bool = True,
        cache_bytes: int = 512 * 2**20,
    ) -> None:
        """Makes a data set in epoch 0; reads no file yet.

        Args:
            folder: what the paths of the pairs are relative to.
            size: side S of a sample in pixels, a multiple of 32.
            cache_bytes: most memory for decoded images. When it is full, further images are read each time: in a new
                order every epoch, evicting would only push out what is needed next.

        Raises:
            DatasetError: no pairs.
            ConfigError: the size is not a positive multiple of 32.
        """
        if not pairs:
            raise DatasetError(f"no pairs to train on in {folder}")
        if size < 32 or size % 32:
            raise ConfigError(f"side of a sample: got {size}, wanted a positive multiple of 32")
        self.folder, self.pairs, self.size, self.seed, self.augment = folder, tuple(pairs), size, seed, augment
        self.epoch = 0
        self._cache: dict[int, tuple[Image, _Matte16]] = {}
        self._free_bytes = cache_bytes

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose samples come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """The sample at an index from 0.

        Raises:
            IndexError: no such index.
            DatasetError: the pair cannot be read; names the file.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        rng = _rng(self.seed, self.epoch, index)
        image, matte = self._decoded(index)
        if self.augment:
            image, matte = _random_crop(image, matte, rng)
        image, matte = resize(image, self.size, self.size), resize(matte, self.size, self.size)
        if self.augment:
            if rng.random() < 0.5:
                image, matte = image[:, ::-1], matte[:, ::-1]
            image = _recoloured(image, rng)
        alpha = matte.astype(np.float32) / np.float32(65535.0)
        trimap = trimap_from_alpha(alpha, rng)
        return Sample(normalise(image), torch.from_numpy(trimap)[None], torch.from_numpy(alpha)[None])

    def _decoded(self, index: int) -> tuple[Image, _Matte16]:
        if index in self._cache:
            return self._cache[index]
        pair = self.pairs[index]
        image, alpha = read_pair(self.folder / pair.image, self.folder / pair.matte)
        matte = np.rint(alpha * 65535.0).astype(np.uint16)
        scale = KEPT_SHORT_SIDE * self.size / min(matte.shape)
        if scale < 1.0:
            height, width = (round(side * scale) for side in matte.shape)
            image, matte = resize(image, height, width), resize(matte, height, width)
        if image.nbytes + matte.nbytes <= self._free_bytes:
            self._free_bytes -= image.nbytes + matte.nbytes
            self._cache[index] = image, matte
        return image, matte


def batch_of(samples: Sequence[Sample]) -> Sample:
    """Stacks samples: every tensor gets a leading dimension B."""
    return Sample(*(torch.stack(tensors) for tensors in zip(*samples, strict=True)))


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


def prefetch(items: Iterable[_Item], depth: int = 2) -> Iterator[_Item]:
    """The same items in the same order, computed by one thread up to `depth` items ahead.

    An exception of the source is raised where its item would have come.
    """
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]  # not `end`, so an item


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _random_crop(image: Image, matte: _Matte16, rng: np.random.Generator) -> tuple[Image, _Matte16]:
    """A square of both, around a random unknown pixel when there is one."""
    height, width = matte.shape
    side = max(1, round(min(height, width) * rng.uniform(*CROP_SCALE)))
    unknown = np.flatnonzero((matte > 0) & (matte < 65535))
    anchor = int(rng.choice(unknown)) if unknown.size else int(rng.integers(matte.size))
    top, left = _first(anchor // width, side, height, rng), _first(anchor % width, side, width, rng)
    return image[top : top + side, left : left + side], matte[top : top + side, left : left + side]


def _first(position: int, side: int, length: int, rng: np.random.Generator) -> int:
    """First row (or column) of a crop within [0, length) that contains `position`."""
    return int(rng.integers(max(0, position - side + 1), min(position, length - side) + 1))


def _recoloured(image: Image, rng: np.random.Generator) -> Image:
    """(value * gain - mean) * contrast + mean + brightness, per colour, rounded and clipped."""
    gain = rng.uniform(1 - COLOUR, 1 + COLOUR, size=3)
    contrast = rng.uniform(1 - CONTRAST, 1 + CONTRAST)
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) * 255.0
    mean = image.mean()
    # Three tables of 256 entries instead of arithmetic on every pixel.
    values = (np.arange(256.0)[:, None] * gain - mean) * contrast + mean + brightness
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], axis=-1)
