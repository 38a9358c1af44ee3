"""What samples of latency say: ratios with their intervals, and the tables of `benchmarks.latency`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.inputs import UNPRUNED, Json
from benchmarks.latency.layers import Row, by_kind, by_layer
from modnet.evaluation.intervals import median_ratio_interval
from modnet.targets import Target

STICK: Target = "ncs2-fp16"
REFERENCE = f"{UNPRUNED} cpu-fp32, f32"
COMPARED = "The agent's measuring and OpenVINO's own: medians of runs, and of the ratios of turns"
ON_OLD_RUNTIMES = f"{STICK} on the CPU of old runtimes, f32"


class Ratio(NamedTuple):
    """A ratio and its percentile bootstrap interval of 95 %."""

    value: float
    low: float
    high: float

    def __format__(self, digits: str) -> str:
        return f"{self.value:{digits}} ({self.low:{digits}}–{self.high:{digits}})"


def median_of_ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Median of the ratios of two series turn by turn, see `median_ratio_interval`; it is written with its interval."""
    interval = median_ratio_interval(numerator, denominator)
    return Ratio(interval.mean, interval.low, interval.high)


def tables(result: Json) -> dict[str, list[Row]]:
    """What the samples say, by title."""
    samples = {name: row["samples_ms"] for name, row in result["rows"].items()}
    cpu = {name: row["cpu_ms"] for name, row in result["rows"].items()}
    latency = [
        {
            "network, target, float parts": name,
            "MB": f"{result['size_bytes'][name.partition(',')[0]] / 1e6:.2f}",
            "median ms": f"{statistics.median(row):.1f}",
            "min ms": f"{min(row):.1f}",
            "times as fast": f"{median_of_ratios(samples[REFERENCE], row):.2f}",
            "CPU ms": f"{statistics.median(cpu[name]):.1f}",
            "times less CPU": f"{median_of_ratios(cpu[REFERENCE], cpu[name]):.2f}",
        }
        for name, row in samples.items()
    ]
    compared = [
        {
            "IR": name,
            "agent ms": f"{statistics.median(turns['agent_ms']):.2f}",
            "benchmark_app ms": f"{statistics.median(turns['benchmark_app_ms']):.2f}",
            "agent / benchmark_app": f"{median_of_ratios(turns['agent_ms'], turns['benchmark_app_ms']):.3f}",
        }
        for name, turns in result["benchmark_app"].items()
    ]
    legacy = [
        {
            "runtime": f"OpenVINO {version}",
            "network": name,
            "median ms": f"{statistics.median(row):.1f}",
            "times as fast": f"{median_of_ratios(networks[UNPRUNED], row):.2f}",
        }
        for version, networks in result["legacy"].items()
        for name, row in networks.items()
    ]
    title = f"Latency: {len(samples[REFERENCE])} rounds, {result['threads']} threads, {result['runtime']}"
    return {
        title: latency,
        COMPARED: compared,
        ON_OLD_RUNTIMES: legacy,
        "Milliseconds by kind of node": by_kind(result["nodes"]),
        "Layers that the pruned network spends most on": by_layer(result["nodes"], result["macs"]),
    }
