"""Where an IR spends its time: every node of the compiled graph, summed by kind and by layer of the network."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.inputs import Json
from modnet.export.runtime import core

LAYERS_SHOWN = 16

Row = dict[str, str]


def layer_of(node: str, originals: str, layers: Sequence[str]) -> str:
    """The layer of the network that a node of the compiled graph computes; a branch and its operation between layers.

    Args:
        node: its name.
        originals: names of the graph's nodes that were fused into it, separated by commas.
        layers: paths of modules, as `fusion.f2x`.

    >>> layer_of("Subgraph_7", "Multiply_1,/detail/hr2x/hr2x.0/norm/Concat", ["detail.hr2x.0", "detail.enc2x"])
    'detail.hr2x.0'
    """
    found = re.search(r"/((?:backbone|semantic|detail|fusion)/[^,]*)", f"{originals},{node}")
    if found is None:
        return "without a layer"
    parts: list[str] = []
    for part in found.group(1).split("/"):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts += part.split(".")
    lengths = range(len(parts), 0, -1)
    owner = next((path for length in lengths if (path := ".".join(parts[:length])) in layers), None)
    return owner or f"{parts[0]}: {parts[1].partition('_')[0]}"


def profiled(irs: Mapping[str, Path], threads: int, layers: Sequence[str], rounds: int = 15) -> Json:
    """Of each IR, float parts in f32: kind, layer and median milliseconds of every node that takes any."""
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "PERF_COUNT": True,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = {name: core().compile_model(xml, "CPU", properties) for name, xml in irs.items()}
    requests = {name: model.create_infer_request() for name, model in compiled.items()}
    samples: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in irs}
    kinds: dict[str, dict[str, str]] = {name: {} for name in irs}
    for turn in range(rounds + 2):
        for name, request in requests.items():
            request.infer()
            if turn < 2:  # warm-up
                continue
            for node in request.profiling_info:
                samples[name][node.node_name].append(node.real_time.total_seconds() * 1000)
                kinds[name][node.node_name] = f"{node.node_type} {node.exec_type.rpartition('_')[2]}"
    nodes = {}
    for name, model in compiled.items():
        information = {op.get_friendly_name(): op.get_rt_info() for op in model.get_runtime_model().get_ops()}
        nodes[name] = [
            {
                "node": node,
                "kind": kinds[name][node],
                "layer": layer_of(node, information[node]["originalLayersNames"].value, layers),
                "ms": statistics.median(values),
            }
            for node, values in samples[name].items()
            if statistics.median(values)
        ]
    return nodes


def by_kind(nodes: Mapping[str, Sequence[Json]]) -> list[Row]:
    """Rows of kinds, the costliest of the last IR first; columns of IRs, with the shares of the whole."""
    sums = {name: _summed(of_one, "kind") for name, of_one in nodes.items()}
    last = list(sums)[-1]
    kinds = sorted({kind for one in sums.values() for kind in one}, key=lambda kind: (-sums[last][kind], kind))
    totals = {name: sum(one.values()) for name, one in sums.items()}
    return [
        {"kind": kind}
        | {
            name: f"{one[kind]:.1f} ({one[kind] / totals[name]:.0%})" if one[kind] else "–"
            for name, one in sums.items()
        }
        for kind in kinds
        if any(one[kind] / totals[name] >= 0.005 for name, one in sums.items())
    ]


def by_layer(nodes: Mapping[str, Sequence[Json]], macs: Mapping[str, Mapping[str, int]]) -> list[Row]:
    """The layers of the pruned network, FP32, that take longest.

    Args:
        nodes: of the unpruned network's FP32 and INT8 IR and of the pruned one's, in this order.
        macs: by layer, of the unpruned and of the pruned network, in this order.
    """
    unpruned, unpruned_int8, pruned, pruned_int8 = (_summed(of_one, "layer") for of_one in nodes.values())
    macs_before, macs_after = macs.values()
    rows = []
    for layer in sorted(pruned, key=lambda layer: -pruned[layer])[:LAYERS_SHOWN]:
        before, after = macs_before.get(layer, 0), macs_after.get(layer, 0)
        rows.append(
            {
                "layer": layer,
                "GMAC": f"{before / 1e9:.3f} → {after / 1e9:.3f}" if before else "–",
                "fewer MACs": f"{before / after:.1f}×" if after else "–",
                "fp32 ms": f"{unpruned[layer]:.1f} → {pruned[layer]:.1f}",
                "less time": f"{unpruned[layer] / pruned[layer]:.1f}×",
                "int8 ms": f"{unpruned_int8[layer]:.1f} → {pruned_int8[layer]:.1f}",
            }
        )
    return rows


def _summed(nodes: Sequence[Json], key: str) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for node in nodes:
        sums[node[key]] += node["ms"]
    return sums
