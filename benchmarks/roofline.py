"""How far each layer of an IR is from what the processor could do.

python -m benchmarks.roofline modnet-cpu-int8.xml [--threads 1] [--rounds 30]

Two limits are measured: multiplications and additions (MACs) a second of a large convolution, in 8 bits and in float32,
and bytes a second of a copy that fits the cache. A node's floor is the longer of two times: its MACs at the peak of
their precision, and what it reads and writes once at the copy's speed. Tables say how long nodes take, what the floor
is, and which share of the time it explains: by kind of node, and for the nodes that lose most.

Times are the smallest of all rounds, since other work on the machine only adds. That needs rounds in which nothing else
runs: a machine whose cores are all taken interrupts every round at some node. With one thread, times are CPU time too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset8

from modnet.export.graph_file import read_graph
from modnet.export.runtime import core
from tasks.tables import markdown_table

COMPUTING = ("Convolution", "GroupConvolution", "FullyConnected", "FullyConnectedQuantizedLegacy", "MatMul")
CHANNELS, SIDE = 256, 32  # of the large convolution: its weights and maps stay in the second cache
COPIED_BYTES = 2**21
NODES_SHOWN = 16


@dataclass(frozen=True)
class Peaks:
    """What the processor does at best, in a second."""

    macs_8_bit: float
    macs_f32: float
    bytes_moved: float


@dataclass(frozen=True)
class Node:
    """One step of the compiled graph.

    Attributes:
        kind: with the precision that it computes in, as `Convolution I8`.
        ms: the smallest of all rounds.
        macs: 0 for passes that compute no sum of products.
        bytes_moved: of its inputs, weights included, and outputs.
    """

    name: str
    kind: str
    ms: float
    macs: int
    bytes_moved: int

    @property
    def computes(self) -> bool:
        """Whether it is a sum of products; all else moves, resizes, normalises or rounds."""
        return self.kind.split()[0] in COMPUTING

    def floor_ms(self, peaks: Peaks) -> float:
        """The time that it would take at the processor's best."""
        macs_a_second = peaks.macs_8_bit if self.kind.endswith("I8") else peaks.macs_f32
        return 1000 * max(self.macs / macs_a_second, self.bytes_moved / peaks.bytes_moved)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the processor and the IR, and prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description="Layers against the processor.")
    parser.add_argument("ir", type=Path, help="an .xml with its .bin beside it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args(arguments)
    peaks = measured_peaks(options.threads, options.rounds)
    nodes = profiled(read_graph(options.ir), options.threads, options.rounds)
    print(
        f"{options.threads} threads: {peaks.macs_8_bit / 1e9:.0f} GMAC/s in 8 bits, {peaks.macs_f32 / 1e9:.0f} in "
        f"float32, {peaks.bytes_moved / 1e9:.0f} GB/s\n"
    )
    print(markdown_table(by_kind(nodes, peaks)), markdown_table(costliest(nodes, peaks)), sep="\n\n")
    return 0


def measured_peaks(threads: int, rounds: int) -> Peaks:
    """Of a large convolution in both precisions, and of a copy by one thread, times `threads`."""
    source = np.ones(COPIED_BYTES, np.uint8)
    target = np.empty_like(source)
    seconds = min(_seconds(lambda: np.copyto(target, source)) for _ in range(10 * rounds))
    return Peaks(
        macs_8_bit=_macs_a_second(True, threads, rounds),
        macs_f32=_macs_a_second(False, threads, rounds),
        bytes_moved=2 * COPIED_BYTES / seconds * threads,
    )


def _macs_a_second(is_8_bit: bool, threads: int, rounds: int) -> float:
    nodes = profiled(_large_convolutions(is_8_bit), threads, rounds)
    return max(1000 * node.macs / node.ms for node in nodes if node.computes)


def profiled(model: ov.Model, threads: int, rounds: int) -> list[Node]:
    """Every node of the compiled graph that takes time, in order of running; float parts in float32."""
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
    }
    compiled = core().compile_model(model, "CPU", properties)
    request, smallest, kinds = compiled.create_infer_request(), defaultdict[str, float](lambda: math.inf), {}
    for turn in range(rounds + 2):
        request.infer()
        for node in request.profiling_info if turn >= 2 else ():  # the first two warm up
            ms = node.real_time.total_seconds() * 1000
            smallest[node.node_name] = min(smallest[node.node_name], ms)
            kinds[node.node_name] = f"{node.node_type} {node.exec_type.rpartition('_')[2]}"
    operations = [one for one in compiled.get_runtime_model().get_ordered_ops() if smallest[one.get_friendly_name()]]
    return [
        Node(name, kinds[name], smallest[name], _macs(one, kinds[name]), _bytes_moved(one))
        for one in operations
        if (name := one.get_friendly_name()) in kinds
    ]


def by_kind(nodes: Sequence[Node], peaks: Peaks) -> list[dict[str, str]]:
    """A row for each kind of node, the costliest first, and two for the whole."""
    kinds: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        kinds[node.kind].append(node)
    ordered = sorted(kinds.items(), key=lambda item: -sum(node.ms for node in item[1]))
    passes = [node for node in nodes if not node.computes]
    named = [*ordered, ("passes that compute nothing", passes), ("all", list(nodes))]
    whole = sum(node.ms for node in nodes)
    return [
        {"kind": name, "nodes": str(len(of_one))} | _times(of_one, peaks, whole)
        for name, of_one in named
        if sum(node.ms for node in of_one) >= 0.002 * whole
    ]


def costliest(nodes: Sequence[Node], peaks: Peaks) -> list[dict[str, str]]:
    """A row for each of the nodes that lose most against their floor."""
    whole = sum(node.ms for node in nodes)
    lost = sorted(nodes, key=lambda node: node.floor_ms(peaks) - node.ms)
    return [{"node": node.name, "kind": node.kind} | _times([node], peaks, whole) for node in lost[:NODES_SHOWN]]


def _times(nodes: Sequence[Node], peaks: Peaks, whole: float) -> dict[str, str]:
    ms, floor = sum(node.ms for node in nodes), sum(node.floor_ms(peaks) for node in nodes)
    shares = {"share of time": ms / whole, "of the roofline": floor / ms}
    columns = {"MMAC": f"{sum(node.macs for node in nodes) / 1e6:.0f}", "ms": f"{ms:.2f}", "floor ms": f"{floor:.2f}"}
    return columns | {name: f"{share:.0%}" for name, share in shares.items()}


def _macs(operation: ov.Node, kind: str) -> int:
    """Each output is a sum over the weights of its channel."""
    if kind.split()[0] not in COMPUTING or operation.get_input_size() < 2:
        return 0
    weights = list(operation.get_input_shape(1))
    is_grouped = kind.startswith("GroupConvolution")
    made = math.prod(weights[:2]) if is_grouped else weights[0]  # channels of the output
    return int(math.prod(operation.get_output_shape(0)) * math.prod(weights) // made)


def _bytes_moved(operation: ov.Node) -> int:
    values = [*operation.input_values(), *operation.outputs()]
    return sum(int(math.prod(one.get_shape()) * one.get_element_type().size) for one in values)


def _large_convolutions(is_8_bit: bool) -> ov.Model:
    """Two convolutions, of which the first one's output is not rearranged for a reader of another kind."""
    image = opset8.parameter([1, CHANNELS, SIDE, SIDE], np.float32)
    weights = np.random.default_rng(0).integers(-127, 128, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    x: ov.Node = image
    for _ in range(2):
        constant = opset8.constant(weights / 127)
        rounded = _rounded(constant, -1, 255) if is_8_bit else constant
        x = opset8.relu(opset8.convolution(_rounded(x, 0, 256) if is_8_bit else x, rounded, *([1, 1],) * 3, [1, 1]))
    return ov.Model([x], [image])


def _rounded(x: ov.Node, low: float, levels: int) -> ov.Node:
    ends = opset8.constant(np.float32(low)), opset8.constant(np.float32(1))
    return opset8.fake_quantize(x, *ends, *ends, levels)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
