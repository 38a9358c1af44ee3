"""Costs of a node are those of its graph, and tables add them up."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset8

from benchmarks.roofline import Node, Peaks, by_kind, costliest, profiled

PEAKS = Peaks(macs_8_bit=1e9, macs_f32=1e8, bytes_moved=1e10)
SUM = Node("sum", "Convolution I8", ms=4.0, macs=2_000_000, bytes_moved=1_000_000)
PASS = Node("pass", "Concat I8", ms=1.0, macs=0, bytes_moved=5_000_000)


def test_floor_is_the_longer_of_computing_and_moving() -> None:
    assert SUM.floor_ms(PEAKS) == pytest.approx(2.0)
    assert PASS.floor_ms(PEAKS) == pytest.approx(0.5)
    assert Node("float", "Convolution f32", 4.0, 2_000_000, 0).floor_ms(PEAKS) == pytest.approx(20.0)


def test_tables_say_what_is_lost_and_which_passes_compute_nothing() -> None:
    rows = {row["kind"]: row for row in by_kind([PASS, SUM], PEAKS)}
    assert list(rows) == ["Convolution I8", "Concat I8", "passes that compute nothing", "all"]
    assert rows["passes that compute nothing"]["share of time"] == "20%"
    assert rows["all"]["of the roofline"] == "50%"
    assert [row["node"] for row in costliest([PASS, SUM], PEAKS)] == ["sum", "pass"]


def test_profiled_counts_what_the_graph_computes_and_moves() -> None:
    image = opset8.parameter([1, 4, 64, 48], np.float32)
    weights = opset8.constant(np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32))
    convolution = opset8.convolution(image, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    depthwise = opset8.constant(np.random.default_rng(1).normal(size=(8, 1, 1, 3, 3)).astype(np.float32))
    grouped = opset8.group_convolution(convolution, depthwise, [1, 1], [1, 1], [1, 1], [1, 1])
    nodes = profiled(ov.Model([grouped], [image]), threads=1, rounds=3)
    macs = {node.kind.split()[0]: node.macs for node in nodes if node.computes}
    assert macs == {"Convolution": 64 * 48 * 8 * 4 * 9, "GroupConvolution": 64 * 48 * 8 * 9}
    (first,) = (node for node in nodes if node.kind.startswith("Convolution"))
    assert first.bytes_moved >= 4 * (64 * 48 * (4 + 8) + 8 * 4 * 9)
