"""What the sensitivity analysis of all channel groups takes, and what computing only the changed part saves.

python -m benchmarks.sensitivity --checkpoint FILE --dataset ZIP [--images 16] [--compared-images 4]

The same errors come from whole masked runs, one per group and ratio. They take longer, so they are measured on the
first images only, in turns with the analysis, group by group: what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.inputs import extracted
from modnet.configs import PruningConfig
from modnet.pruning.criteria import score_groups
from modnet.pruning.gates import gated
from modnet.pruning.sensitivity import RecordedImage, analysed_groups, closed_gates
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portrait, Portraits, alpha_mse

WAYS = ("whole runs", "analysis")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table and returns 0."""
    parser = argparse.ArgumentParser(description="Time of a sensitivity analysis, with and without its savings.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True, help="zip; its tune split is read")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--compared-images", type=int, default=4, help="of them, also measured by whole runs")
    parser.add_argument("--short-side", type=int, default=256)
    parser.add_argument("--ratios", type=_ratios, default=(0.1, 0.3, 0.5, 0.7, 0.9), help="as 0.1,0.5")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    network = load(options.checkpoint)
    scores = score_groups(network, PruningConfig())
    gates = {group.name: closed_gates(group, scores[group.name], options.ratios) for group in analysed_groups(network)}
    with tempfile.TemporaryDirectory() as folder:
        data = Portraits(*extracted(options.dataset, Path(folder)))
        count = min(options.images, len(data.names("tune")))
        portraits = [data.sample("tune", position, options.short_side) for position in range(count)]

    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    difference = 0.0
    for number, portrait in enumerate(tqdm(portraits, unit="image", disable=None)):
        if number < options.compared_images:
            taken, apart = compared(network, portrait, gates)
            difference = max(difference, apart)
        else:
            taken = {"analysis": analysed(network, portrait, gates)}
        for way, value in taken.items():
            seconds[way].append(value)

    what = f"{len(gates)} groups, {len(options.ratios)} ratios, {len(portraits)} images"
    print(f"{what} at {options.short_side} px, {options.threads} threads: {sum(seconds['analysis']):.0f} s\n")
    print("| way | images | s per image | speed-up |\n|---|---:|---:|---:|")
    compared_images = len(seconds["whole runs"])
    for way, values in seconds.items() if compared_images else ():
        taken_s = sum(values[:compared_images])
        faster = sum(seconds["whole runs"]) / taken_s
        print(f"| {way} | {compared_images} | {taken_s / compared_images:.1f} | {faster:.2f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nlargest difference of an error: {difference:.1e}; peak memory {peak:.0f} MB")
    return 0


def analysed(network: MODNet, portrait: Portrait, gates: Mapping[str, Tensor]) -> float:
    """Seconds for all groups and ratios of one image."""
    began = time.perf_counter()
    image = RecordedImage(network, portrait, alpha_mse)
    for group, factors in gates.items():
        image.errors(group, factors)
    return time.perf_counter() - began


def compared(network: MODNet, portrait: Portrait, gates: Mapping[str, Tensor]) -> tuple[dict[str, float], float]:
    """Seconds of each way for one image, in turns, and by how much their errors differ at most."""
    began = time.perf_counter()
    image = RecordedImage(network, portrait, alpha_mse)
    seconds = dict.fromkeys(WAYS, 0.0) | {"analysis": time.perf_counter() - began}
    difference = 0.0
    for group, factors in gates.items():
        began = time.perf_counter()
        wanted = _whole_runs(network, portrait, group, factors)
        seconds["whole runs"] += time.perf_counter() - began
        began = time.perf_counter()
        found = image.errors(group, factors)
        seconds["analysis"] += time.perf_counter() - began
        difference = max(difference, *(abs(one - other) for one, other in zip(found, wanted, strict=True)))
    return seconds, difference


def _whole_runs(network: MODNet, portrait: Portrait, group: str, factors: Tensor) -> list[float]:
    errors = []
    for row in factors:
        with torch.no_grad(), gated(network, {group: row}):
            errors.append(float(alpha_mse(network, portrait)))
    return errors


def _ratios(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
