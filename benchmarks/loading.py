"""What loading delivers without a network behind it, and where its time goes.

python -m benchmarks.loading --dataset ZIP [--images 48] [--epochs 2] [--sizes 256,512] [--workers 0,1,2]

Images of the fit split, after one epoch that fills the caches and starts the workers: with each augmentation alone,
with the defaults, and with the defaults when nothing is kept in memory. `per CPU second` is what one core to itself
would deliver, whatever else the machine does; the other columns are by the clock on the wall. Then the CPU time of each
function. OpenCV computes in one thread.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch

from benchmarks.inputs import extracted
from modnet.data.batches import batch_indices
from modnet.data.loading import BatchLoader
from modnet.workloads.matting.data.dataset import CACHE_BYTES, MattingDataset
from modnet.workloads.matting.settings import AugmentationConfig
from tasks.tables import markdown_table

BATCH_SIZE = 4
PROFILED = (
    "read_image",
    "read_matte16",
    "crop_at_border",
    "resize",
    "recolour",
    "blur",
    "compress",
    "random_background",
    "estimate_foreground",
    "trimap_from_alpha",
    "normalise",
)
CROPS = AugmentationConfig.none().model_copy(update={"crops": True})
WAYS: dict[str, tuple[AugmentationConfig, int]] = {
    "whole images": (AugmentationConfig.none(), CACHE_BYTES),
    "crops": (CROPS, CACHE_BYTES),
    "crops, always mirrored": (CROPS.model_copy(update={"flip": 1.0}), CACHE_BYTES),
    "crops, colours": (CROPS.model_copy(update={"colour": 1.0}), CACHE_BYTES),
    "crops, always blurred": (CROPS.model_copy(update={"blur": 1.0}), CACHE_BYTES),
    "crops, always JPEG": (CROPS.model_copy(update={"jpeg": 1.0}), CACHE_BYTES),
    "crops, always another background": (CROPS.model_copy(update={"background": 1.0}), CACHE_BYTES),
    "defaults": (AugmentationConfig(), CACHE_BYTES),
    "defaults, nothing kept": (AugmentationConfig(), 0),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and returns 0."""
    parser = argparse.ArgumentParser(description="Images per second of the loader alone, and where its time goes.")
    parser.add_argument("--dataset", type=Path, required=True, help="zip; its fit split is read")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=2, help="measured, after one that is not")
    parser.add_argument("--sizes", type=_integers, default=(256, 512))
    parser.add_argument("--workers", type=_integers, default=(0, 1, 2))
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder, index = extracted(options.dataset, Path(temporary))
        pairs = index.split("fit")[: options.images]
        for size in options.sizes:
            rows = []
            for name, (augment, cache_bytes) in WAYS.items():
                dataset = MattingDataset(folder, pairs, size=size, augment=augment, cache_bytes=cache_bytes)
                rates = [images_per_second(dataset, workers, options.epochs) for workers in options.workers]
                row = {
                    f"{count} workers, per s": f"{rate:.0f}" for count, rate in zip(options.workers, rates, strict=True)
                }
                rows.append(
                    {"samples": name, "per CPU second": f"{images_per_cpu_second(dataset, options.epochs):.0f}"} | row
                )
            print(f"\nimages/s at {size} px, {len(pairs)} images\n")
            print(markdown_table(rows))
            for name in ("defaults", "defaults, nothing kept"):
                augment, cache_bytes = WAYS[name]
                dataset = MattingDataset(folder, pairs, size=size, augment=augment, cache_bytes=cache_bytes)
                print(f"\nCPU ms per image at {size} px, {name}\n")
                print(markdown_table(profile(dataset, options.epochs)))
    return 0


def images_per_second(dataset: MattingDataset, workers: int, epochs: int) -> float:
    """Rate at which the batches of `epochs` epochs arrive, after a first one."""
    with BatchLoader(dataset, workers=workers) as loader:
        seen, began = 0, 0.0
        for epoch in range(epochs + 1):
            if epoch == 1:
                began = time.perf_counter()
            dataset.set_epoch(epoch)
            for batch in loader.load(batch_indices(len(dataset), BATCH_SIZE, 0, epoch)):
                seen += len(batch.image) if epoch > 0 else 0
        return seen / (time.perf_counter() - began)


def images_per_cpu_second(dataset: MattingDataset, epochs: int) -> float:
    """Rate at which one core computes samples, after a first epoch, in this thread."""
    for index in range(len(dataset)):
        dataset[index]
    began = time.process_time()
    for epoch in range(1, epochs + 1):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            dataset[index]
    return epochs * len(dataset) / (time.process_time() - began)


def profile(dataset: MattingDataset, epochs: int) -> list[dict[str, str]]:
    """CPU milliseconds per image by function, the whole sample first, under Python's profiler."""
    for index in range(len(dataset)):
        dataset[index]
    profiler = cProfile.Profile(time.process_time)
    for epoch in range(1, epochs + 1):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            profiler.runcall(dataset.__getitem__, index)
    # By name: of each, pstats keeps (calls, primitive calls, own time, time with what it calls, callers).
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]  # not in its stubs
    seconds = {name: numbers[3] for (file, _, name), numbers in stats.items() if "modnet" in file}
    per_image = {name: 1000 * seconds.get(name, 0.0) / (epochs * len(dataset)) for name in PROFILED}
    whole = 1000 * seconds["__getitem__"] / (epochs * len(dataset))
    rows = sorted(per_image.items(), key=lambda item: -item[1])
    return [{"function, with what it calls": name, "ms": f"{ms:.2f}"} for name, ms in [("whole sample", whole), *rows]]


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
