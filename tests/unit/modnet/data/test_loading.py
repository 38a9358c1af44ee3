"""Batches are the same whatever the number of processes; what cannot be read is named, counted and replaced."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from modnet.data.batches import batch_indices
from modnet.data.loading import BatchLoader
from modnet.errors import ConfigError, DatasetError, LoadingError
from modnet.workloads.matting.data.dataset import MattingDataset, Sample, UnlabelledDataset
from modnet.workloads.matting.data.indexing import Pair
from modnet.workloads.matting.data.synthetic import render_portrait

SIZE, COUNT = 64, 7
BATCHES = batch_indices(COUNT, 2, seed=1, epoch=0)


@pytest.fixture
def portraits(tmp_path: Path) -> MattingDataset:
    pairs = []
    for number in range(COUNT):
        image, alpha = render_portrait(np.random.default_rng(number), (96, 72))
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.rint(alpha * 255).astype(np.uint8))
        pairs.append(Pair(stem=str(number), image=f"{number}.jpg", matte=f"{number}.png"))
    return MattingDataset(tmp_path, pairs, size=SIZE, seed=5)


def spoil(dataset: MattingDataset, *numbers: int) -> None:
    for number in numbers:
        (dataset.folder / dataset.entries[number].image).write_bytes(b"\xff\xd8 cut off")


def equal(first: list[Sample], second: list[Sample]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def loaded_epochs(dataset: MattingDataset, workers: int, epochs: int = 2, max_unreadable: int = 0) -> list[Sample]:
    batches = []
    with BatchLoader(dataset, workers=workers, max_unreadable=max_unreadable) as loader:
        for epoch in range(epochs):
            dataset.set_epoch(epoch)
            batches += list(loader.load(batch_indices(len(dataset), 2, 1, epoch)))
    return batches


def has_ended(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_batch_loader_gives_identical_batches_whatever_the_number_of_workers(portraits: MattingDataset) -> None:
    none, one, two = (loaded_epochs(portraits, workers) for workers in (0, 1, 2))
    assert [len(batch.image) for batch in none] == [2, 2, 3, 2, 2, 3]
    assert equal(none, one)
    assert equal(none, two)
    portraits.set_epoch(0)
    first = portraits[BATCHES[0][0]]
    assert all(torch.equal(batch[0], alone) for batch, alone in zip(none[0], first, strict=True))


def test_batch_loader_keeps_its_workers_from_epoch_to_epoch_and_ends_them(portraits: MattingDataset) -> None:
    with BatchLoader(portraits, workers=1) as loader:
        list(loader.load(BATCHES))
        pid = loader._workers[0]._process.pid
        list(loader.load(BATCHES))
        assert loader._workers[0]._process.pid == pid
    assert has_ended(pid)


def test_batch_loader_starts_over_when_an_epoch_was_left_early(portraits: MattingDataset) -> None:
    portraits.set_epoch(0)
    with BatchLoader(portraits, workers=1) as loader:
        batches = loader.load(BATCHES)
        next(batches)
        batches.close()
        assert equal(list(loader.load(BATCHES)), list(BatchLoader(portraits).load(BATCHES)))


@pytest.mark.parametrize("workers", [0, 1])
def test_batch_loader_ends_its_thread_when_an_epoch_is_left_early(portraits: MattingDataset, workers: int) -> None:
    before = threading.active_count()
    with BatchLoader(portraits, workers=workers) as loader:
        batches = loader.load(BATCHES)
        next(batches)
        batches.close()
        assert threading.active_count() == before


def test_batch_loader_gives_unlabelled_images_that_are_the_same_with_workers(portraits: MattingDataset) -> None:
    images = UnlabelledDataset(portraits.folder, [f"{number}.jpg" for number in range(COUNT)], size=SIZE)
    alone = list(BatchLoader(images).load(BATCHES))
    with BatchLoader(images, workers=1) as loader:
        beside = list(loader.load(BATCHES))
    assert all(torch.equal(a.image, b.image) for a, b in zip(alone, beside, strict=True))
    assert alone[0].image.shape == (2, 3, SIZE, SIZE)


@pytest.mark.parametrize("workers", [0, 1])
def test_batch_loader_names_the_file_in_place_when_one_is_unreadable(portraits: MattingDataset, workers: int) -> None:
    spoil(portraits, BATCHES[1][1])
    with BatchLoader(portraits, workers=workers) as loader:
        batches = loader.load(BATCHES)
        next(batches)
        with pytest.raises(DatasetError, match=rf"1 of 7 .* at most 0 .*max_unreadable.*{BATCHES[1][1]}\.jpg"):
            next(batches)


def test_batch_loader_replaces_what_is_unreadable_alike_whatever_the_number_of_workers(
    portraits: MattingDataset, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(portraits, 2, 6)
    none, two = (loaded_epochs(portraits, workers, max_unreadable=2) for workers in (0, 2))
    assert equal(none, two)
    assert len([record for record in caplog.records if "2.jpg" in record.message]) == 2  # one a loader, not an epoch
    portraits.set_epoch(0)
    order = [index for batch in BATCHES for index in batch]
    samples = [alpha for batch in none[: len(BATCHES)] for alpha in batch.alpha]
    assert torch.equal(samples[order.index(2)], portraits[3].alpha)
    assert torch.equal(samples[order.index(6)], portraits[0].alpha)


def test_batch_loader_lists_all_files_when_too_many_are_unreadable(portraits: MattingDataset) -> None:
    spoil(portraits, 1, 2, 5)
    with (
        BatchLoader(portraits, max_unreadable=2) as loader,
        pytest.raises(DatasetError, match=r"3 of 7 samples") as caught,
    ):
        list(loader.load(BATCHES))
    assert all(f"{number}.jpg" in str(caught.value) for number in (1, 2, 5))
    assert sorted(loader.unreadable) == [1, 2, 5]


def test_batch_loader_raises_when_nothing_is_readable(portraits: MattingDataset) -> None:
    spoil(portraits, *range(COUNT))
    with BatchLoader(portraits, max_unreadable=100) as loader, pytest.raises(DatasetError, match="7 of 7 samples"):
        list(loader.load(BATCHES))


def test_batch_loader_says_so_when_a_worker_is_killed(portraits: MattingDataset) -> None:
    with BatchLoader(portraits, workers=1) as loader:
        batches = loader.load([[number % COUNT] for number in range(1000)])
        next(batches)
        os.kill(loader._workers[0]._process.pid, signal.SIGKILL)
        with pytest.raises(LoadingError, match="exit code -9"):
            list(batches)


def test_batch_loader_passes_on_an_error_of_a_worker_in_its_place(portraits: MattingDataset) -> None:
    with BatchLoader(portraits, workers=1) as loader, pytest.raises(IndexError, match="sample 99 of 7"):
        list(loader.load([[0], [99]]))


def test_workers_end_when_the_training_process_is_killed(portraits: MattingDataset) -> None:
    program = (
        "import sys, pickle, time\n"
        "from modnet.data.loading import BatchLoader\n"
        "loader = BatchLoader(pickle.loads(bytes.fromhex(sys.stdin.readline())), workers=1)\n"
        "next(loader.load([[0]] * 1000))\n"
        "print(loader._workers[0]._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdin is not None
        assert training.stdout is not None
        training.stdin.write(pickle.dumps(portraits).hex() + "\n")
        training.stdin.flush()
        worker = int(training.stdout.readline())
        training.kill()
    assert has_ended(worker)


def test_batch_loader_divides_the_memory_bound_among_workers(portraits: MattingDataset) -> None:
    assert portraits.divided(4)._cache.max_bytes == portraits._cache.max_bytes // 4
    assert portraits.divided(4)[0].image.equal(portraits[0].image)


@pytest.mark.parametrize("setting", ["workers", "max_unreadable"])
def test_batch_loader_refuses_negative_numbers(portraits: MattingDataset, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting}: got -1"):
        BatchLoader(portraits, **{setting: -1})
