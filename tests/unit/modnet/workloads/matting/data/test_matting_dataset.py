from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modnet.data.batches import batch_indices, batch_of, prefetch
from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.data.dataset import MattingDataset, Sample, UnlabelledDataset
from modnet.workloads.matting.data.indexing import Pair
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.settings import AugmentationConfig

Array = NDArray[Any]
SIZE = 64


def write_pair(folder: Path, stem: str, image: Array, alpha: Array) -> Pair:
    cv2.imwrite(str(folder / f"{stem}-image.png"), image[..., ::-1])
    cv2.imwrite(str(folder / f"{stem}-matte.png"), np.rint(alpha * 255).astype(np.uint8))
    return Pair(stem=stem, image=f"{stem}-image.png", matte=f"{stem}-matte.png")


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pair]]:
    folder = tmp_path_factory.mktemp("portraits")
    sizes = [(96, 72), (72, 130), (300, 200), (64, 64)]
    rng = np.random.default_rng(0)
    return folder, [write_pair(folder, str(n), *render_portrait(rng, size)) for n, size in enumerate(sizes)]


def changes(line: torch.Tensor) -> int:
    """How often the values cross the middle between their extremes."""
    return int((line > (line.min() + line.max()) / 2).diff().sum())


def equal(first: Sample, second: Sample) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("augment", [False, True])
def test_matting_dataset_gives_samples_of_the_documented_shape_and_range(
    portraits: tuple[Path, list[Pair]], augment: bool
) -> None:
    dataset = MattingDataset(*portraits, size=SIZE, augment=augment)
    assert len(dataset) == 4
    for epoch in range(6):
        dataset.set_epoch(epoch)
        for index in range(4):
            image, trimap, alpha = dataset[index]
            assert (image.shape, trimap.shape, alpha.shape) == ((3, SIZE, SIZE), (1, SIZE, SIZE), (1, SIZE, SIZE))
            assert image.dtype == trimap.dtype == alpha.dtype == torch.float32
            assert image.min() >= -1.0
            assert image.max() <= 1.0
            assert alpha.min() >= 0.0
            assert alpha.max() <= 1.0
            assert (trimap[(alpha > 0) & (alpha < 1)] == 0.5).all()
            assert (alpha[trimap == 1.0] == 1.0).all()
            assert (alpha[trimap == 0.0] == 0.0).all()


def test_matting_dataset_crops_contain_unknown_pixels_and_certain_ones_stay_exact(
    portraits: tuple[Path, list[Pair]],
) -> None:
    dataset = MattingDataset(*portraits, size=SIZE)
    certain = 0
    for epoch in range(40):
        dataset.set_epoch(epoch)
        alpha = dataset[2].alpha
        assert ((alpha > 0) & (alpha < 1)).any()
        certain += int((alpha == 1).any())
    assert certain > 30


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_matting_dataset_gives_samples_when_no_pixel_is_unknown(tmp_path: Path, value: float) -> None:
    pair = write_pair(tmp_path, "plain", np.full((90, 70, 3), 128, np.uint8), np.full((90, 70), value))
    sample = MattingDataset(tmp_path, [pair], size=SIZE)[0]
    assert (sample.alpha == value).all()
    assert (sample.trimap == value).all()


def test_matting_dataset_moves_image_and_matte_together_when_augmenting(tmp_path: Path) -> None:
    """The image is its own matte, so after all but another background the two still rise and fall together."""
    _, alpha = render_portrait(np.random.default_rng(3), (150, 120))
    image = np.repeat(np.rint(alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    augment = AugmentationConfig(blur=0.5, jpeg=0.5, background=0)
    dataset = MattingDataset(tmp_path, [write_pair(tmp_path, "self", image, alpha)], size=SIZE, augment=augment)
    for epoch in range(20):
        dataset.set_epoch(epoch)
        sample = dataset[0]
        together = torch.corrcoef(torch.stack([sample.image.mean(dim=0).flatten(), sample.alpha.flatten()]))[0, 1]
        assert together > 0.99


def test_matting_dataset_keeps_aspect_when_augmenting(tmp_path: Path) -> None:
    """Stripes of 8 pixels across and 8 down have equal frequency afterwards."""
    y, x = np.mgrid[:240, :120]
    stripes = np.stack([255 * (x // 8 % 2), 255 * (y // 8 % 2), 0 * x], axis=-1).astype(np.uint8)
    dataset = MattingDataset(tmp_path, [write_pair(tmp_path, "grid", stripes, np.ones((240, 120)))], size=SIZE)
    for epoch in range(10):
        dataset.set_epoch(epoch)
        image = dataset[0].image
        across, down = changes(image[0, SIZE // 2]), changes(image[1, :, SIZE // 2])
        assert abs(across - down) <= 1
        assert across > 3


def test_matting_dataset_shows_the_whole_image_when_not_augmenting(tmp_path: Path) -> None:
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, 60:] = 255
    alpha = image[..., 0] / 255.0
    sample = MattingDataset(tmp_path, [write_pair(tmp_path, "half", image, alpha)], size=SIZE, augment=False)[0]
    assert (sample.image[:, :, : SIZE // 2 - 1] == -1).all()
    assert (sample.image[:, :, SIZE // 2 + 1 :] == 1).all()
    assert (sample.alpha[:, :, SIZE // 2 + 1 :] == 1).all()


def test_matting_dataset_depends_on_seed_epoch_and_index_only(portraits: tuple[Path, list[Pair]]) -> None:
    def samples(seed: int, epoch: int, order: list[int], cache_bytes: int = 2**20) -> dict[int, Sample]:
        dataset = MattingDataset(*portraits, size=SIZE, seed=seed, cache_bytes=cache_bytes)
        dataset.set_epoch(epoch)
        return {index: dataset[index] for index in order}

    wanted = samples(1, 2, [0, 1, 2, 3])
    again = samples(1, 2, [3, 1, 1, 0, 2], cache_bytes=0)
    assert all(equal(wanted[index], again[index]) for index in wanted)
    assert not equal(wanted[0], samples(1, 3, [0])[0])
    assert not equal(wanted[0], samples(2, 2, [0])[0])


def test_matting_dataset_reads_a_file_once_when_memory_allows(tmp_path: Path) -> None:
    image, alpha = render_portrait(np.random.default_rng(0), (96, 72))
    pair = write_pair(tmp_path, "once", image, alpha)
    generous = MattingDataset(tmp_path, [pair], size=SIZE)
    miserly = MattingDataset(tmp_path, [pair], size=SIZE, cache_bytes=5 * 96 * 72 - 1)
    for dataset in (generous, miserly):
        dataset[0]
    (tmp_path / pair.image).unlink()
    generous[0]
    with pytest.raises(DatasetError, match=r"once-image\.png"):
        miserly[0]


def test_matting_dataset_refuses_no_pairs_odd_size_and_index_beyond(portraits: tuple[Path, list[Pair]]) -> None:
    folder, pairs = portraits
    with pytest.raises(DatasetError, match=str(folder)):
        MattingDataset(folder, [])
    with pytest.raises(ConfigError, match="got 100"):
        MattingDataset(folder, pairs, size=100)
    with pytest.raises(IndexError, match="4 of 4"):
        MattingDataset(folder, pairs)[4]


def test_matting_dataset_draws_the_same_trimap_whatever_the_augmentation_of_colours(
    portraits: tuple[Path, list[Pair]],
) -> None:
    """Crop and flip come first in a sample's generator, so the mattes are equal as well."""
    plain = AugmentationConfig(background=0, colour=0, blur=0, jpeg=0)
    changed = AugmentationConfig(background=0, colour=1, blur=1, jpeg=1)
    one, other = (MattingDataset(*portraits, size=SIZE, augment=config)[0] for config in (plain, changed))
    assert torch.equal(one.trimap, other.trimap)
    assert torch.equal(one.alpha, other.alpha)
    assert not torch.equal(one.image, other.image)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_matting_dataset_gives_samples_when_image_is_one_pixel(tmp_path: Path, value: float) -> None:
    pair = write_pair(tmp_path, "pixel", np.full((1, 1, 3), 128, np.uint8), np.full((1, 1), value))
    for augment in (AugmentationConfig(background=1, blur=1, jpeg=1), False):
        dataset = MattingDataset(tmp_path, [pair], size=SIZE, augment=augment)
        for epoch in range(4):
            dataset.set_epoch(epoch)
            assert (dataset[0].alpha == value).all()
            assert dataset[0].image.isfinite().all()


def test_matting_dataset_draws_a_background_when_the_other_image_is_unreadable(
    portraits: tuple[Path, list[Pair]], tmp_path: Path
) -> None:
    image, alpha = render_portrait(np.random.default_rng(0), (96, 72))
    good = write_pair(tmp_path, "good", image, alpha)
    missing = [Pair(stem=str(n), image=f"{n}.png", matte=f"{n}.png") for n in range(9)]
    dataset = MattingDataset(tmp_path, [good, *missing], size=SIZE, augment=AugmentationConfig(background=1))
    for epoch in range(10):
        dataset.set_epoch(epoch)
        assert dataset[0].image.isfinite().all()


def test_unlabelled_dataset_gives_the_images_that_a_matting_dataset_gives_when_nothing_is_random(
    portraits: tuple[Path, list[Pair]],
) -> None:
    folder, pairs = portraits
    unlabelled = UnlabelledDataset(folder, [pair.image for pair in pairs], size=SIZE, augment=False)
    labelled = MattingDataset(folder, pairs, size=SIZE, augment=False)
    assert len(unlabelled) == 4
    assert all(torch.equal(unlabelled[n].image, labelled[n].image) for n in range(4))
    assert batch_of([unlabelled[0], unlabelled[1]]).image.shape == (2, 3, SIZE, SIZE)


def test_unlabelled_dataset_crops_anew_in_every_epoch_and_keeps_backgrounds(portraits: tuple[Path, list[Pair]]) -> None:
    folder, pairs = portraits
    images = [pair.image for pair in pairs]
    dataset = UnlabelledDataset(folder, images, size=SIZE, augment=AugmentationConfig(background=1, colour=0))
    assert dataset.augment.background == 0
    first = dataset[2].image
    assert torch.equal(first, dataset[2].image)
    dataset.set_epoch(1)
    assert not torch.equal(first, dataset[2].image)


def test_unlabelled_dataset_refuses_no_images_and_names_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=str(tmp_path)):
        UnlabelledDataset(tmp_path, [])
    with pytest.raises(DatasetError, match=r"gone\.jpg"):
        UnlabelledDataset(tmp_path, ["gone.jpg"])[0]


def test_batch_of_stacks_each_tensor(portraits: tuple[Path, list[Pair]]) -> None:
    dataset = MattingDataset(*portraits, size=SIZE)
    batch = batch_of([dataset[0], dataset[1], dataset[2]])
    assert batch.image.shape == (3, 3, SIZE, SIZE)
    assert torch.equal(batch.trimap[1], dataset[1].trimap)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 5]), (1, 4, [1]), (3, 1, [1, 1, 1]), (3, 8, [3]), (0, 4, [])],
)
def test_batch_indices_leave_nothing_out(count: int, batch_size: int, sizes: list[int]) -> None:
    batches = batch_indices(count, batch_size, seed=0, epoch=0)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(index for batch in batches for index in batch) == list(range(count))


def test_batch_indices_depend_on_seed_and_epoch_only() -> None:
    wanted = batch_indices(50, 4, seed=1, epoch=2)
    assert batch_indices(50, 4, seed=1, epoch=2) == wanted
    assert batch_indices(50, 4, seed=1, epoch=3) != wanted
    assert batch_indices(50, 4, seed=2, epoch=2) != wanted
    assert [index for batch in batch_indices(50, 8, seed=1, epoch=2) for index in batch] == [
        i for b in wanted for i in b
    ]


def test_batch_indices_refuse_empty_batches() -> None:
    with pytest.raises(ConfigError, match="got 0"):
        batch_indices(5, 0, seed=0, epoch=0)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_prefetch_gives_the_same_items_in_order(count: int) -> None:
    assert list(prefetch(range(count))) == list(range(count))


def test_prefetch_raises_the_error_of_the_source_in_its_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise DatasetError("second item")

    items = prefetch(source())
    assert next(items) == 1
    with pytest.raises(DatasetError, match="second item"):
        next(items)


def test_prefetch_computes_ahead_but_no_further_than_depth() -> None:
    computed: list[int] = []
    third = threading.Event()

    def source() -> Iterator[int]:
        for number in range(100):
            computed.append(number)
            if number == 2:
                third.set()
            yield number

    items = prefetch(source(), depth=2)
    assert next(items) == 0
    assert third.wait(5)
    assert len(computed) <= 3
    assert list(islice(items, 2)) == [1, 2]


def test_prefetch_ends_its_thread_when_left_early() -> None:
    before = threading.active_count()
    items = prefetch(iter(range(10)))
    next(items)
    items.close()
    assert threading.active_count() == before
