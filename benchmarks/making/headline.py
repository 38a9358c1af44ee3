"""The plan `headline`: at most 1.34 M parameters and 3.7 GMAC, and fast. The plans of other sizes, made as it is.

python -m benchmarks.making.headline --dataset portraits.zip --base modnet.ckpt

Plans by each setting, scores the network that is left on tune before any retraining, and prints all of them. The plan
of the last setting is `results/plans/headline.json`: the widths of its branches fill whole vectors, and it has no
instance norm at full resolution. What was scored before is not planned again (`results/headline-settings.json`), nor is
a size in `results/plans/`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.inputs import HEADLINE_PLAN, PLANS, RESULTS, extracted, input_parser
from benchmarks.ranking import scored
from modnet.configs import BudgetPolicy, PruningConfig
from modnet.files import write_atomically
from modnet.pruning.plan import PruningPlan
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.workload import MATTING
from tasks.pruning_evidence import plan_with_evidence
from tasks.tables import markdown_table

SETTINGS_DONE = RESULTS / "headline-settings.json"


class Budget(NamedTuple):
    """What a network may have at most."""

    macs: int
    parameters: int


HEADLINE = Budget(3_700_000_000, 1_340_000)
SIZES = {  # by MACs; with these widths 2.0 GMAC is the least
    "2.3G": Budget(2_300_000_000, 500_000),
    "2.9G": Budget(2_900_000_000, 900_000),
    "5.4G": Budget(5_400_000_000, 2_000_000),
    "8.4G": Budget(8_400_000_000, 3_000_000),
    "11.5G": Budget(11_500_000_000, 4_000_000),
}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"images": 32, "looks": 1, "multiple": 8, "floor": 0.1},
    {"images": 32, "looks": 8, "multiple": 8, "floor": 0.1},
    {"images": 32, "looks": 24, "multiple": 8, "floor": 0.1},
    {"images": 32, "looks": 8, "multiple": 4, "floor": 0.05},
    {"images": 32, "looks": 8, "multiple": 16, "floor": 0.05},
    {"images": 32, "looks": 8, "multiple": 16, "floor": 0.05, "batch_only": ["fusion.head_features"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plans and scores what is missing, prints the table."""
    parser = input_parser("Plans the headline network, and others of its size.")
    options = parser.parse_args(arguments)
    network = load(options.base)
    folder, index = extracted(options.dataset, options.cache)
    done: list[dict[str, Any]] = json.loads(SETTINGS_DONE.read_text()) if SETTINGS_DONE.exists() else []
    for setting in SETTINGS:
        if any(row["setting"] == setting for row in done):
            continue
        began = time.monotonic()
        plan = planned(network, HEADLINE, setting, folder, index)
        seconds = time.monotonic() - began
        tune = scored(apply_plan(network, plan), folder, index, "tune")
        if setting == SETTINGS[-1]:
            write_atomically(HEADLINE_PLAN, plan.to_json().encode())
        done.append(
            {"setting": setting, "tune_error": tune["mse"], "macs": tune["macs"]}
            | {"parameters": tune["parameters"], "seconds": round(seconds, 1)}
        )
        write_atomically(SETTINGS_DONE, json.dumps(done, indent=1).encode())
        print(done[-1], flush=True)
    for name, budget in SIZES.items():
        if not (path := PLANS / f"{name}.json").exists():
            plan = planned(network, budget, SETTINGS[-1], folder, index)
            write_atomically(path, plan.to_json().encode())
            print(name, plan.parameters, plan.macs, flush=True)
    rows = [
        {
            **{name: str(row["setting"].get(name, "")) for name in ("images", "looks", "multiple", "floor")},
            "batch only": ", ".join(row["setting"].get("batch_only", ())),
            "parameters M": f"{row['parameters'] / 1e6:.3f}",
            "GMAC": f"{row['macs'] / 1e9:.3f}",
            "tune MSE": f"{row['tune_error']:.4f}",
            "planning s": f"{row['seconds']:.0f}",
        }
        for row in sorted(done, key=lambda row: row["tune_error"])
    ]
    print(markdown_table(rows))
    return 0


def planned(network: MODNet, budget: Budget, setting: dict[str, Any], folder: Path, index: DatasetIndex) -> PruningPlan:
    """The plan within a budget by one of `SETTINGS`."""
    config = PruningConfig(
        policy=BudgetPolicy(max_macs=budget.macs, max_parameters=budget.parameters, floor=setting["floor"]),
        criterion="taylor",
        taylor_images=setting["images"],
        taylor_steps=setting["looks"],
        channel_multiple=setting["multiple"],
        min_channels=setting["multiple"],
        batch_only=tuple(setting.get("batch_only", ())),
    )
    return plan_with_evidence(network, config, MATTING, lambda: Portraits(folder, index), threads=2)


if __name__ == "__main__":
    raise SystemExit(main())
