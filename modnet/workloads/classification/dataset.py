"""Training samples: functions of (seed, epoch, index) alone."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from modnet.configs.shape import shape_of
from modnet.data.batches import generator_of
from modnet.data.decoded_cache import DecodedCache
from modnet.data.image_changes import spoilt
from modnet.data.images import Image, normalise, read_image, resize, shrink
from modnet.targets import Shape, Size
from modnet.workloads.classification.folders import Labelled
from modnet.workloads.classification.settings import ClassAugmentation

KEPT = 1.5  # times the sample's height and width, which a decoded image covers
CACHE_BYTES = 512 * 2**20


class ClassSample(NamedTuple):
    """One labelled image; several are stacked to one."""

    image: Tensor  # float32 (3, H, W), RGB, [-1, 1]
    label: Tensor  # int64 (), the number of its class


class ClassDataset:
    """Labelled images as training samples of one height and width, changed at random."""

    def __init__(
        self,
        folder: Path,
        images: Sequence[Labelled],
        *,
        size: Size,
        seed: int,
        augment: ClassAugmentation,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Makes a data set in epoch 0; reads no file yet. Paths of `images` are relative to `folder`.

        Raises:
            ConfigError: a side is not a positive multiple of 32.
        """
        self.folder, self.images, self.shape = folder, tuple(images), shape_of(size)
        self.seed, self.augment = seed, augment
        self.epoch = 0
        self._cache: DecodedCache[tuple[Image]] = DecodedCache(cache_bytes)

    @property
    def files(self) -> tuple[str, ...]:
        """Of all images."""
        return tuple(one.path for one in self.images)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose samples come next."""
        self.epoch = epoch

    def divided(self, parts: int) -> Self:
        """A copy for one of several processes, whose caches together keep to the bound of this one's."""
        copied = copy.copy(self)
        copied._cache = DecodedCache(self._cache.max_bytes // parts)
        return copied

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ClassSample:
        """The sample at an index from 0.

        Raises:
            IndexError: no such index.
            DatasetError: the image cannot be read; names the file.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        path, label = self.images[index]
        height, width = (round(KEPT * side) for side in self.shape)
        (image,) = self._cache.get(index, lambda: (shrink(read_image(self.folder / path), (height, width)),))
        rng = generator_of(self.seed, self.epoch, index)
        changed = changed_at_random(image, self.shape, self.augment, rng)
        return ClassSample(torch.from_numpy(normalise(changed)), torch.tensor(label))


def changed_at_random(image: Image, shape: Shape, config: ClassAugmentation, rng: np.random.Generator) -> Image:
    """An image, cropped, changed and resized to a height and width, as the config says."""
    image = resize(random_crop(image, shape, config.smallest_crop, rng), *shape)
    if rng.random() < config.flip:
        image = image[:, ::-1]
    return spoilt(image, config.colour, config.blur, config.jpeg, rng)


def random_crop(image: Image, aspect: Shape, smallest: float, rng: np.random.Generator) -> Image:
    """A rectangle of an image, of sides proportional to `aspect`: from `smallest` of the largest that fits up to it."""
    height, width, _ = image.shape
    scale = min(height / aspect[0], width / aspect[1]) * rng.uniform(smallest, 1)
    sides = [max(1, round(side * scale)) for side in aspect]
    top, left = (int(rng.integers(have - want + 1)) for have, want in zip((height, width), sides, strict=True))
    return image[top : top + sides[0], left : left + sides[1]]
