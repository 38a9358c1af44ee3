"""Training samples and their order, both functions of (seed, epoch) alone."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

import torch
from torch.utils.data import Dataset

from modnet.configs.shape import shape_of
from modnet.data.batches import generator_of
from modnet.data.decoded_cache import DecodedCache
from modnet.data.images import Image, normalise
from modnet.errors import DatasetError
from modnet.targets import Shape, Size
from modnet.workloads.matting.data.augmentation import alpha_of, augment
from modnet.workloads.matting.data.decoded import Decoded, read_shrunk_image, read_shrunk_pair
from modnet.workloads.matting.data.images import Matte16
from modnet.workloads.matting.data.indexing import Pair
from modnet.workloads.matting.data.trimap import trimap_from_alpha
from modnet.workloads.matting.settings import AugmentationConfig

KEPT = 1.5  # times the sample's height and width, which a decoded image covers: a crop of half of it grows by 4/3
CACHE_BYTES = 512 * 2**20

_AUGMENTING, _TRIMAP = 0, 1  # what a generator of a sample is for

_Entry = TypeVar("_Entry")
_Sample = TypeVar("_Sample")


class Sample(NamedTuple):
    """One training sample; several are stacked to one."""

    image: torch.Tensor  # float32 (3, H, W), RGB, [-1, 1]
    trimap: torch.Tensor  # float32 (1, H, W), {0, 0.5, 1}
    alpha: torch.Tensor  # float32 (1, H, W), [0, 1]


class UnlabelledSample(NamedTuple):
    """A training sample whose matte nobody knows: float32 (3, H, W), RGB, [-1, 1]; several are stacked to one."""

    image: torch.Tensor


class _Images(Dataset[_Sample], Generic[_Entry, _Sample]):
    """What both kinds of data set share: entries, epoch, augmentation, and the cache of decoded images."""

    _called: ClassVar[str]  # what an entry is, in the plural
    _has_mattes: ClassVar[bool]

    def __init__(
        self,
        folder: Path,
        entries: Sequence[_Entry],
        *,
        size: Size = 512,
        seed: int = 0,
        augment: AugmentationConfig | bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Makes a data set in epoch 0; reads no file yet.

        Args:
            folder: what the paths of the entries are relative to.
            entries: pairs of image and matte, or images as `indexing.find_images` gives them.
            size: height and width of a sample in pixels, or the side of a square: multiples of 32.
            augment: how; True is the default config, False `AugmentationConfig.none()`.
            cache_bytes: most memory for decoded images.

        Raises:
            DatasetError: no entries.
            ConfigError: a side is not a positive multiple of 32.
        """
        if not entries:
            raise DatasetError(f"no {self._called} to train on in {folder}")
        if isinstance(augment, bool):
            augment = AugmentationConfig() if augment else AugmentationConfig.none()
        if not self._has_mattes:
            augment = augment.model_copy(update={"background": 0.0})
        self.folder, self.entries, self.shape = folder, tuple(entries), shape_of(size)
        self.seed, self.augment = seed, augment
        self.epoch = 0
        self._cache: DecodedCache[Decoded] = DecodedCache(cache_bytes)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose samples come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.entries)

    def divided(self, parts: int) -> Self:
        """A copy for one of several processes, whose caches together keep to the bound of this one's."""
        copied = copy.copy(self)
        copied._cache = DecodedCache(self._cache.max_bytes // parts)
        return copied

    def _augmented(self, index: int) -> tuple[Image, Matte16]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        rng = generator_of(self.seed, self.epoch, index, _AUGMENTING)

        def draw_other() -> Decoded | None:
            try:
                return self._decoded(int(rng.integers(len(self))))
            except DatasetError:  # it is named and counted where its own sample comes
                return None

        return augment(*self._decoded(index), self.shape, self.augment, rng, draw_other)

    def _decoded(self, index: int) -> Decoded:
        height, width = self.shape
        return self._cache.get(index, lambda: self._read(index, (round(KEPT * height), round(KEPT * width))))

    def _read(self, index: int, shape: Shape) -> Decoded:
        raise NotImplementedError


class MattingDataset(_Images[Pair, Sample]):
    """Pairs of image and matte as training samples of one height and width.

    A sample depends on (seed, epoch, index) only. Its trimap has a generator of its own: another augmentation draws the
    same kernel and iterations.
    """

    _called, _has_mattes = "pairs", True

    @property
    def files(self) -> tuple[str, ...]:
        """Of all pairs: image, matte, image, matte, …"""
        return tuple(file for pair in self.entries for file in (pair.image, pair.matte))

    def __getitem__(self, index: int) -> Sample:
        """The sample at an index from 0.

        Raises:
            IndexError: no such index.
            DatasetError: the pair cannot be read; names the file.
        """
        image, matte = self._augmented(index)
        alpha = alpha_of(matte)
        trimap = trimap_from_alpha(alpha, generator_of(self.seed, self.epoch, index, _TRIMAP))
        return Sample(torch.from_numpy(normalise(image)), torch.from_numpy(trimap)[None], torch.from_numpy(alpha)[None])

    def _read(self, index: int, shape: Shape) -> Decoded:
        pair = self.entries[index]
        return read_shrunk_pair(self.folder / pair.image, self.folder / pair.matte, shape)


class UnlabelledDataset(_Images[str, UnlabelledSample]):
    """Images without mattes, for distillation and self-supervised adaptation.

    Augmented as `MattingDataset`, but crops are placed anywhere, and backgrounds stay.
    """

    _called, _has_mattes = "images", False

    @property
    def files(self) -> tuple[str, ...]:
        """All images."""
        return self.entries

    def __getitem__(self, index: int) -> UnlabelledSample:
        """The sample at an index from 0.

        Raises:
            IndexError: no such index.
            DatasetError: the image cannot be read; names the file.
        """
        return UnlabelledSample(torch.from_numpy(normalise(self._augmented(index)[0])))

    def _read(self, index: int, shape: Shape) -> Decoded:
        return read_shrunk_image(self.folder / self.entries[index], shape)
