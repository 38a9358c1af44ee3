"""Whose groups keep a network's meaning: those that are found here, or Torch-Pruning's?

    pip install --no-deps torch-pruning==1.6.1
    python -m benchmarks.grouping [--seeds 5]

Both remove half of the channels of every architecture in `benchmarks.architectures` and of MODNet, any half that a seed
says; Torch-Pruning is told which layers make the outputs, and nothing else about the network. The law: the smaller
network computes what the whole one does when the columns that it lacks are zero. Which columns these are is read from
the smaller network itself, by pruning a copy whose weights are numbered; nobody's groups are believed. In float64.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from benchmarks.architectures import ARCHITECTURES, resnet50
from benchmarks.services import memory_mb
from modnet.configs import PruningConfig, UniformPolicy
from modnet.pruning.groups import is_depthwise, out_axis
from modnet.pruning.law import with_random_weights
from modnet.pruning.plan import GroupPlan, PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.pruning.traced_network import TracedNetwork
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.tables import markdown_table

TOLERANCE = 1e-9

Prune = Callable[[nn.Module, Tensor, int], nn.Module]
"""(network, example input, seed) → the smaller network. The seed alone says which channels go."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Whose groups keep a network's meaning.")
    parser.add_argument("--seeds", type=int, default=5, help="choices of channels, for each network (default: 5)")
    options = parser.parse_args(arguments)
    print(markdown_table([_large()]))
    print()
    rows = []
    for name, (network, example) in _networks().items():
        row = {"network": name}
        for title, prune in (("here", ours), ("Torch-Pruning 1.6.1", torch_pruning)):
            trials = [_tried(prune, network, example, seed) for seed in range(options.seeds)]
            row[title] = _summed([verdict for verdict, _, _ in trials])
            row[f"s, {title}"] = f"{median(seconds for _, seconds, _ in trials):.2f}"
            left = [share for _, _, share in trials if share is not None]
            row[f"weights left, {title}"] = f"{sum(left) / len(left):.0%}" if left else ""
        rows.append(row)
        print(row, file=sys.stderr)
    print(markdown_table(rows))
    return 0


def _large() -> dict[str, str]:
    """Seconds and memory of a ResNet-50, with what torch.export imports when it is first used."""
    network, example = resnet50().eval(), torch.zeros(1, 3, 224, 224)
    began_mb, times = memory_mb(os.getpid(), "VmHWM"), [time.perf_counter()]
    traced = TracedNetwork(network, (example,))
    traced.channel_groups()
    times.append(time.perf_counter())
    traced_mb = memory_mb(os.getpid(), "VmHWM")
    plan = plan_pruning(traced, PruningConfig(policy=UniformPolicy(ratio=0.5), criterion="l1"))
    times.append(time.perf_counter())
    apply_plan(traced, plan)
    times.append(time.perf_counter())
    groups_s, plan_s, surgery_s = (after - before for before, after in itertools.pairwise(times))
    return {
        "ResNet-50, 224×224": f"{len(traced.channel_groups())} groups",
        "groups s": f"{groups_s:.1f}",
        "memory MB": f"{traced_mb - began_mb:.0f}",
        "plan s": f"{plan_s:.1f}",
        "surgery and law s": f"{surgery_s:.1f}",
    }


def _networks() -> Mapping[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    networks = {
        name: (with_random_weights(build()), torch.randn(shape, dtype=torch.float64))
        for name, (build, shape) in ARCHITECTURES.items()
    }
    modnet = with_random_weights(MODNet(ModnetSpec.full()))
    return {**networks, "MODNet": (modnet, torch.randn(1, 3, 64, 64, dtype=torch.float64))}


def ours(network: nn.Module, example: Tensor, seed: int) -> nn.Module:
    """Half of every part of every group."""
    generator = torch.Generator().manual_seed(seed)
    traced = TracedNetwork(network, (example,))
    groups = {}
    for group in traced.channel_groups():
        kept, start = [], 0
        for part in group.parts if group.prunable else ():
            kept += sorted(start + one for one in torch.randperm(part, generator=generator)[: (part + 1) // 2].tolist())
            start += part
        if kept:
            groups[group.name] = GroupPlan(parts=group.parts, kept=tuple(kept))
    return apply_plan(traced, PruningPlan(groups=groups)).module


def torch_pruning(network: nn.Module, example: Tensor, seed: int) -> nn.Module:
    """Its pruner as its documentation has it, with random scores."""
    import torch_pruning as tp

    torch.manual_seed(seed)
    network = copy.deepcopy(network)
    pruner = tp.pruner.BasePruner(
        network,
        example,
        importance=tp.importance.RandomImportance(),
        pruning_ratio=0.5,
        ignored_layers=_output_layers(network, example),
    )
    pruner.step()
    return network


def _output_layers(network: nn.Module, example: Tensor) -> list[nn.Module]:
    """The last layer, or of MODNet the heads."""
    if isinstance(network, MODNet):
        return [network.get_submodule(f"{branch}.head") for branch in ("semantic", "detail", "fusion")]
    return list(_layers(network)[-1:])


def _tried(prune: Prune, network: nn.Module, example: Tensor, seed: int) -> tuple[str, float, float | None]:
    """Verdict, seconds of finding groups and pruning, and the share of weights that is left."""
    began = time.perf_counter()
    try:
        small = prune(network, example, seed)
    except Exception as error:  # whatever goes wrong in it is its verdict
        return f"refuses or crashes: {type(error).__name__}", time.perf_counter() - began, None
    seconds = time.perf_counter() - began
    left = _count(small) / _count(network)
    try:
        masked = _masked(network, prune(_numbered(network), example, seed))
        with torch.no_grad():
            got, wanted = tree_leaves(small.eval()(example)), tree_leaves(masked.eval()(example))
    except Exception as error:
        return f"does not run: {type(error).__name__}", seconds, left
    if left == 1:
        return "removes nothing", seconds, left
    worst = max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(got, wanted, strict=True))
    return "holds" if worst <= TOLERANCE else "computes something else", seconds, left


def _numbered(network: nn.Module) -> nn.Module:
    """A copy in which the weights of every layer say at which input and output they stand."""
    numbered = copy.deepcopy(network)
    for layer in _layers(numbered):
        weight = layer.weight.data
        weight.copy_(torch.arange(weight.numel(), dtype=weight.dtype).reshape(weight.shape))
    return numbered


def _masked(network: nn.Module, numbered: nn.Module) -> nn.Module:
    """A copy of the whole network in which the columns that the smaller one lacks are zero."""
    masked = copy.deepcopy(network)
    for layer, small in zip(_layers(masked), _layers(numbered), strict=True):
        if is_depthwise(layer):
            continue  # it reads no other channels than it makes
        weight = layer.weight.data.movedim(out_axis(layer), 0)  # (out, in, …)
        places = torch.arange(weight.numel()).reshape(layer.weight.shape).movedim(out_axis(layer), 0)
        stays = torch.isin(places, small.weight.data.long())
        is_left = stays.flatten(start_dim=1).any(dim=1)  # nobody reads what the others make
        weight[is_left] *= stays[is_left]
    return masked


def _layers(network: nn.Module) -> list[_ConvNd | nn.Linear]:
    return [module for module in network.modules() if isinstance(module, _ConvNd | nn.Linear)]


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _summed(verdicts: Sequence[str]) -> str:
    counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    said = [f"{verdict} ({count} of {len(verdicts)})" for verdict, count in counts.items()]
    return ", ".join(said) if len(counts) > 1 else verdicts[0]


if __name__ == "__main__":
    sys.exit(main())
