"""Latencies of several IRs on this machine, measured in turns."""

from collections.abc import Mapping
from pathlib import Path

from infra.device.measuring.latency import measure_interleaved
from infra.device.measuring.runtime import load_ir

WARM_UP, ROUNDS = 3, 15


def interleaved_latencies(irs: Mapping[str, Path], threads: int, rounds: int = ROUNDS) -> dict[str, tuple[float, ...]]:
    """Latencies in milliseconds of each IR (`.xml`, its `.bin` beside it), by the edge agent's measuring code.

    All take their turn in every round, so that a passing disturbance falls on all of them and their ratios hold. The
    i-th samples of all are of the same round.
    """
    runs = {name: load_ir(xml, threads=threads).run_once for name, xml in irs.items()}
    samples = measure_interleaved(runs, warm_up=WARM_UP, rounds=rounds)
    return {name: sample.samples_ms for name, sample in samples.items()}
