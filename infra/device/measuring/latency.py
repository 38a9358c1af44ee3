"""Timing of a function that runs one inference: every sample kept, warm-ups apart."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable

from infra.device.documents.latency_summary import percentile

WINDOW_RUNS = 10
STABLE_RATIO = 1.05
MOST_WARM_UP_RUNS = 500


@dataclass(frozen=True)
class LatencySamples:
    """Durations in milliseconds, in the order in which they were taken; `summarise` reads samples_ms."""

    warm_up_ms: tuple[float, ...]
    samples_ms: tuple[float, ...]


def measure(
    run_once: Callable[[], None],
    *,
    warm_up: int,
    repeats: int,
    min_seconds: float = 0.0,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> LatencySamples:
    """Times `run_once` until there are at least `repeats` samples and `min_seconds` seconds of them.

    Args:
        run_once: one inference, finished when it returns.
        warm_up: runs before the samples, timed but kept apart: they fill caches and settle the clock rate.
        repeats: samples to take, at least 1.
        min_seconds: sum of the samples to reach, so that a fast network is measured long enough.
        clock_ns: a monotonic clock in nanoseconds.
    """
    warm_up_ms = tuple(_time_ms(run_once, clock_ns) for _ in range(warm_up))
    samples_ms: list[float] = []
    total_ms = 0.0
    while len(samples_ms) < repeats or total_ms < 1000 * min_seconds:
        samples_ms.append(_time_ms(run_once, clock_ns))
        total_ms += samples_ms[-1]
    return LatencySamples(warm_up_ms, tuple(samples_ms))


def warm_up(
    run_once: Callable[[], None],
    *,
    least: int,
    most_s: float,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> tuple[float, ...]:
    """Runs until the times are stable (`is_stable`): caches are then full, and the clock rate has settled.

    Steady state is looked for in the times themselves, as it comes sooner or later by machine (Georges, Buytaert and
    Eeckhout, 2007, doi 10.1145/1297027.1297033). Medians stand for their coefficient of variation, which one disturbed
    run would spoil.

    Args:
        run_once: one inference, finished when it returns.
        least: runs that are taken in any case.
        most_s: seconds after which it ends, stable or not, as it does after MOST_WARM_UP_RUNS.
        clock_ns: a monotonic clock in nanoseconds.

    Returns:
        every time in milliseconds, in order.
    """
    start_ns = clock_ns()
    samples_ms: list[float] = []
    while True:
        is_over = len(samples_ms) >= MOST_WARM_UP_RUNS or clock_ns() - start_ns >= 1e9 * most_s
        if len(samples_ms) >= least and (is_over or is_stable(samples_ms)):
            return tuple(samples_ms)
        samples_ms.append(_time_ms(run_once, clock_ns))


def is_stable(samples_ms: Sequence[float]) -> bool:
    """The medians of the last two windows of WINDOW_RUNS runs are within a factor of STABLE_RATIO."""
    if len(samples_ms) < 2 * WINDOW_RUNS:
        return False
    earlier = percentile(samples_ms[-2 * WINDOW_RUNS : -WINDOW_RUNS], 0.5)
    last = percentile(samples_ms[-WINDOW_RUNS:], 0.5)
    return max(earlier, last) <= STABLE_RATIO * min(earlier, last)


def measure_interleaved(
    runs: Mapping[str, Callable[[], None]],
    *,
    warm_up: int,
    rounds: int,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, LatencySamples]:
    """Times several functions in turns, so that a change of the machine's speed meets all of them alike.

    Each round has an order of its own, the same in every call: nobody always runs after the same neighbour's cache.

    Returns:
        name -> samples, of which the i-th of every name were taken in the same round.
    """
    names = list(runs)
    warm_up_ms = {name: tuple(_time_ms(runs[name], clock_ns) for _ in range(warm_up)) for name in names}
    samples_ms: dict[str, list[float]] = {name: [] for name in names}
    orders = random.Random(0)
    for _ in range(rounds):
        for name in orders.sample(names, len(names)):
            samples_ms[name].append(_time_ms(runs[name], clock_ns))
    return {name: LatencySamples(warm_up_ms[name], tuple(samples_ms[name])) for name in names}


def _time_ms(run_once: Callable[[], None], clock_ns: Callable[[], int]) -> float:
    start_ns = clock_ns()
    run_once()
    return (clock_ns() - start_ns) / 1e6
