"""What each difference between the published adaptive pruning and ours costs or gains, on val, without retraining.

python -m benchmarks.modelcompression.differences --dataset portraits.zip --base modnet.ckpt

At one threshold, with detail and fusion branches left whole (ratio 0): from MODNet-ModelCompression's rule and copying
to ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmarks.inputs import extracted, input_parser
from benchmarks.modelcompression.copying import copied_network
from benchmarks.ranking import scored
from modnet.configs import AdaptivePolicy, BudgetPolicy, PruningConfig
from modnet.errors import PruningError
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import GroupPlan, PruningPlan, best_of_each_part, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.published.modelcompression import prune_like_modelcompression
from modnet.workloads.matting.workload import MATTING
from tasks.pruning_evidence import plan_with_evidence
from tasks.tables import markdown_table

THRESHOLDS = (0.1, 0.3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one table for all thresholds."""
    parser = input_parser("From MODNet-ModelCompression's pruning to ours, one difference at a time.")
    options = parser.parse_args(arguments)
    network = load(options.base)
    images = extracted(options.dataset, options.cache)
    rows = []
    for threshold in THRESHOLDS:
        for name, pruned in _variants(network, threshold, Portraits(*images)):
            score = scored(pruned, *images)
            rows.append(
                {
                    "threshold": str(threshold),
                    "variant": name,
                    "parameters M": f"{score['parameters'] / 1e6:.3f}",
                    "GMAC": f"{score['macs'] / 1e9:.3f}",
                    "val MSE": f"{score['mse']:.4f}",
                }
            )
            print(rows[-1], flush=True)
    print(markdown_table(rows))
    return 0


def _variants(network: MODNet, threshold: float, data: Portraits) -> Iterator[tuple[str, MODNet]]:
    config = PruningConfig(policy=AdaptivePolicy(backbone_threshold=threshold, global_ratio=0))
    try:
        yield "MODNet-ModelCompression: its widths, its copying", copied_network(network, threshold, 0)
        yield (
            "its widths, channels aligned",
            prune_like_modelcompression(network, threshold=threshold, ratio=0, inherit=True).network,
        )
    except PruningError as error:
        print(error)
    plan = plan_pruning(network, config)
    yield "and skips kept", apply_plan(network, _floored(network, plan))
    yield "and hidden widths not floored: ours, L1", apply_plan(network, plan)
    compensated = apply_plan(network, plan, compensate=True)
    yield "and constants taken up by consumers", compensated
    budget = BudgetPolicy(max_macs=complexity(compensated).macs)
    taylor = PruningConfig(policy=budget, criterion="taylor")
    yield (
        "ours: a budget of the same MACs, Taylor",
        apply_plan(network, plan_with_evidence(network, taylor, MATTING, lambda: data, threads=2)),
    )


def _floored(network: MODNet, plan: PruningPlan) -> PruningPlan:
    """The plan with hidden widths that are whole multiples of their block's input width, as an integer factor gives."""
    groups = dict(plan.groups)
    outputs = "backbone.stem"
    for index, block in enumerate(network.spec.blocks):
        hidden = f"backbone.blocks.{index}.hidden"
        if block.expands:
            width = len(groups[outputs].kept)
            count = max(1, len(groups[hidden].kept) // width) * width
            scores = torch.tensor(groups[hidden].scores, dtype=torch.float64)
            kept = best_of_each_part(scores, groups[hidden].parts, min(count, groups[hidden].parts[0]))
            groups[hidden] = GroupPlan(parts=groups[hidden].parts, kept=kept)
        outputs = outputs if block.residual else f"backbone.blocks.{index}.output"
    return PruningPlan(groups=groups)


if __name__ == "__main__":
    raise SystemExit(main())
