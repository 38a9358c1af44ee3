"""Latencies of several IRs on this machine, measured in turns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.edge_agent.latency import measure_interleaved
from infra.edge_agent.runtime import load_ir
from infra.reports import percentile

WARM_UP, ROUNDS = 3, 15


def median_latencies(irs: Mapping[str, Path], threads: int) -> dict[str, float]:
    """Median latency in milliseconds of each IR (`.xml`, its `.bin` beside it), by the edge agent's measuring code.

    All take their turn in every round, so that a passing disturbance falls on all of them and their ratios hold.
    """
    runs = {name: load_ir(xml, threads=threads).run_once for name, xml in irs.items()}
    samples = measure_interleaved(runs, warm_up=WARM_UP, rounds=ROUNDS)
    return {name: percentile(sample.samples_ms, 0.5) for name, sample in samples.items()}
