"""Seconds and memory of plan and surgery on the full network, by policy. Linux.

python -m benchmarks.planning [--base modnet.ckpt]

Each row runs in a process of its own. Extra memory is the peak of the process less its peak before planning; Taylor
scores come from images and take longer, see benchmarks.making.headline.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from modnet.configs import BudgetPolicy, GlobalThresholdPolicy, PruningConfig, UniformPolicy
from modnet.pruning.plan import plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.tables import markdown_table

BUDGET = BudgetPolicy(max_macs=7_000_000_000)
CONFIGS = {
    "adaptive 0.5/0.5, L1": PruningConfig(),
    "uniform 0.5, geometric median": PruningConfig(policy=UniformPolicy(), criterion="geometric_median"),
    "global threshold 0.4, batch-norm scale": PruningConfig(
        policy=GlobalThresholdPolicy(share=0.4), criterion="bn_scale"
    ),
    "budget 7 GMAC, L1": PruningConfig(policy=BUDGET),
    "budget 7 GMAC, L1, single channels": PruningConfig(policy=BUDGET, channel_multiple=1, min_channels=1),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Seconds and memory of plan and surgery, by policy.")
    parser.add_argument("--base", type=Path, help="unpruned checkpoint; without one, random weights")
    options = parser.parse_args(arguments)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = [pool.apply(_row, (name, options.base)) for name in CONFIGS]
    print(markdown_table(rows))
    return 0


def _row(name: str, base: Path | None) -> dict[str, str]:
    torch.set_num_threads(2)
    network = (MODNet(ModnetSpec.full()) if base is None else load(base)).eval()
    before = _peak_bytes()
    began = time.perf_counter()
    plan = plan_pruning(network, CONFIGS[name])
    planned = time.perf_counter()
    apply_plan(network, plan)
    done = time.perf_counter()
    return {
        "policy": name,
        "plan s": f"{planned - began:.2f}",
        "surgery s": f"{done - planned:.2f}",
        "extra memory MB": f"{(_peak_bytes() - before) / 1e6:.0f}",
        "parameters M": "" if plan.parameters is None else f"{plan.parameters / 1e6:.3f}",
        "GMAC": "" if plan.macs is None else f"{plan.macs / 1e9:.3f}",
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    raise SystemExit(main())
