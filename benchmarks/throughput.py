"""Images per second of our training and of the published trainer's loop, interleaved, and where a step's time goes.

python -m benchmarks.throughput --dataset portraits.zip --base modnet.ckpt [--plan PLAN] [--rounds 3] [--steps 3]

The plain loop is that of MODNet-ModelCompression: float32, batch 4, 512 px, whole images squeezed into squares, loaded
between the steps, SGD. Ours is `retrain` as it comes: augmentation, batches computed ahead, AdamW, clipped gradients,
averaged weights, and the number format that `fastest_format` measures to be the faster one. In every round each of them
takes `steps` steps that count, after one that does not and before two that do not: while a step is counted, a batch is
loaded that a later one needs, as in a long run. The unpruned network first, then the plan's.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.inputs import HEADLINE_PLAN, extracted, input_parser, networks
from modnet.configs import TrainingConfig
from modnet.data.batches import batch_indices, batch_of
from modnet.data.loading import BatchLoader
from modnet.training.execution import Format, fastest_format, predict
from modnet.training.memory import freed_memory_kept
from modnet.training.retrain import SGD_MOMENTUM, retrain
from modnet.training.state import TrainingState
from modnet.workloads.matting.data.dataset import MattingDataset
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.losses import matting_loss
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.workload import MATTING
from tasks.tables import markdown_table

BATCH, SIZE = 4, 512
AHEAD = 2  # batches that our loop loads before it needs them


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = input_parser("Images per second of training steps, ours and the published ones.")
    parser.add_argument("--plan", type=Path, default=HEADLINE_PLAN, help="of pruning (default: the headline's)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="that count, in each round")
    parser.add_argument("--profile", action="store_true", help="also where the time of one step of ours goes")
    options = parser.parse_args(arguments)
    folder, index = extracted(options.dataset, options.cache)
    compared = networks(options.base, [options.plan])
    rows = []
    for name, network in compared.items():
        samples = training_samples(folder, index, (1 + options.steps + AHEAD) * BATCH, augment=True)
        chosen = fastest_format(
            network.train(), batch_of([samples[position] for position in range(BATCH)]), matting_loss
        )
        loops: dict[str, Callable[[], list[float]]] = {
            "plain": partial(
                plain_loop, network, training_samples(folder, index, (1 + options.steps) * BATCH, augment=False)
            ),
            f"ours, {chosen}": partial(our_loop, network, samples, chosen),
        }
        taken: dict[str, list[float]] = {which: [] for which in loops}
        for _ in range(options.rounds):
            for which, loop in loops.items():
                taken[which] += loop()[: options.steps]
        plain = median(taken["plain"])
        for which, seconds in taken.items():
            low, high = min(seconds), max(seconds)
            rows.append(
                {
                    "network": name,
                    "loop": which,
                    "steps": str(len(seconds)),
                    "s an image, median (least, most)": f"{median(seconds) / BATCH:.3f} "
                    f"({low / BATCH:.3f}, {high / BATCH:.3f})",
                    "images/s": f"{BATCH / median(seconds):.2f}",
                    "of plain": f"{plain / median(seconds):.2f}×",
                }
            )
    print(markdown_table(rows))
    print(f"\nloader alone: {loaded_per_second(folder, index):.1f} images/s")
    if options.profile:
        for name, network in compared.items():
            samples = training_samples(folder, index, BATCH, augment=True)
            print(f"\n{name}\n{markdown_table(where_time_goes(network, samples))}")
    return 0


def training_samples(folder: Path, index: DatasetIndex, count: int, *, augment: bool) -> MattingDataset:
    """The first images of `fit`."""
    return MattingDataset(folder, index.split("fit")[:count], size=SIZE, augment=augment)


def plain_loop(network: MODNet, samples: MattingDataset) -> list[float]:
    """Seconds of each step but the first, loading included."""
    network = copy.deepcopy(network).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=SGD_MOMENTUM)
    ends = []
    for indices in batch_indices(len(samples), BATCH, 0, 0):
        batch = batch_of([samples[position] for position in indices])
        loss = torch.stack(list(matting_loss(network(batch.image), batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        ends.append(time.perf_counter())
    return _differences(ends)


def our_loop(network: MODNet, samples: MattingDataset, number_format: Format) -> list[float]:
    """Seconds of each step but the first, loading included."""
    ends: dict[int, float] = {}

    def after_step(state: TrainingState) -> None:
        ends.setdefault(state.step, time.perf_counter())

    config = TrainingConfig(epochs=1, batch_size=BATCH, image_size=SIZE, precision=number_format, validate_every=None)
    retrain(copy.deepcopy(network), samples, config, workload=MATTING, seed=0, after_step=after_step)
    return _differences(list(ends.values()))


def loaded_per_second(folder: Path, index: DatasetIndex, batches: int = 16) -> float:
    """Images per second of the loader while nothing else is done; the first epoch, so every file is read."""
    samples = training_samples(folder, index, batches * BATCH, augment=True)
    began = time.perf_counter()
    with BatchLoader(samples) as loader:
        count = sum(len(batch.image) for batch in loader.load(batch_indices(len(samples), BATCH, 0, 0)))
    return count / (time.perf_counter() - began)


def where_time_goes(network: MODNet, samples: MattingDataset, most: int = 10) -> list[dict[str, str]]:
    """Shares of the operations that take most of a step, forward and backward, in the faster number format."""
    batch = batch_of([samples[position] for position in range(BATCH)])
    chosen = fastest_format(network.train(), batch, matting_loss)

    def step() -> None:
        terms = matting_loss(predict(network, (batch.image,), chosen), batch)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]

    with freed_memory_kept():
        for _ in range(2):  # these get their memory from the kernel
            step()
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            step()
    operations = sorted(recorded.key_averages(), key=lambda one: -one.self_cpu_time_total)
    whole = sum(one.self_cpu_time_total for one in operations)
    return [
        {
            "operation": one.key,
            "calls": str(one.count),
            f"share of a {chosen} step": f"{one.self_cpu_time_total / whole:.1%}",
        }
        for one in operations[:most]
    ]


def _differences(ends: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(ends)]


if __name__ == "__main__":
    raise SystemExit(main())
