"""Statistics of the samples of one measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LatencySummary:
    """Statistics of the samples of one measurement.

    Attributes:
        mean_ms: arithmetic mean.
        p50_ms: nearest-rank percentiles, each one of the samples (see `percentile`).
        drift_ratio: mean of the second half over mean of the first; far from 1 when the machine throttles or warms up.
    """

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    drift_ratio: float


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least `share` of all samples do not exceed.

    Args:
        samples: at least one, in any order.
        share: in (0, 1], for example 0.9.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
    2.0
    """
    if not samples or not 0 < share <= 1:
        raise ValueError(
            f"percentile of {len(samples)} samples at {share}: wanted at least 1 sample and 0 < share <= 1"
        )
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def summarise(samples_ms: Sequence[float]) -> LatencySummary:
    """The statistics of at least one positive sample; a single sample has no drift (ratio 1)."""
    half = len(samples_ms) // 2
    first, second = samples_ms[: len(samples_ms) - half], samples_ms[len(samples_ms) - half :]
    drift_ratio = _mean(second) / _mean(first) if second else 1.0
    return LatencySummary(
        mean_ms=_mean(samples_ms),
        p50_ms=percentile(samples_ms, 0.5),
        p90_ms=percentile(samples_ms, 0.9),
        p99_ms=percentile(samples_ms, 0.99),
        drift_ratio=drift_ratio,
    )


SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
INTERVALS = tuple(f"{name}_{end}" for name in SHARES for end in ("low", "high"))


def intervals(samples_ms: Sequence[float]) -> dict[str, float]:
    """Bootstrap intervals of p50, p90 and p99, each end one of the samples; named as in INTERVALS, milliseconds."""
    return {
        f"{name}_{end}": value
        for name, share in SHARES.items()
        for end, value in zip(("low", "high"), percentile_interval(samples_ms, share))
    }


def percentile_interval(samples: Sequence[float], share: float) -> tuple[float, float]:
    """The bootstrap interval, 95 %, of a percentile of at least one sample; each end is one of the samples.

    Nothing is drawn: what infinitely many resamples would give is known for a percentile. The k-th smallest of n drawn
    is at most the j-th smallest sample when at least k of them are among the j smallest, each with probability j/n
    (Efron, 1979, doi 10.1214/aos/1176344552).
    """
    in_order, count = sorted(samples), len(samples)
    low, high = (in_order[_rank_at(below, math.ceil(share * count), count) - 1] for below in (0.025, 0.975))
    return low, high


def _rank_at(below: float, rank: int, count: int) -> int:
    """The smallest j for which the percentile of a resample is at most the j-th sample with probability `below`."""
    low, high = 1, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _at_least(rank, count, middle / count) >= below else (middle + 1, high)
    return low


def _at_least(wanted: int, draws: int, chance: float) -> float:
    """Probability of at least `wanted` successes in as many draws."""
    if chance >= 1:
        return 1.0
    log_all = math.lgamma(draws + 1)
    return math.fsum(
        math.exp(
            log_all
            - math.lgamma(hits + 1)
            - math.lgamma(draws - hits + 1)
            + hits * math.log(chance)
            + (draws - hits) * math.log1p(-chance)
        )
        for hits in range(wanted, draws + 1)
    )


def percentile_note(samples_count: int) -> str | None:
    """What must be said beside p90 and p99 of so few samples; None where both leave larger ones out.

    >>> percentile_note(50)
    'p99 of 50 samples is the largest of them: take at least 100'
    """
    if samples_count < 10:
        return f"p90 and p99 of {samples_count} samples are the largest of them: take at least 10 for p90, 100 for p99"
    return f"p99 of {samples_count} samples is the largest of them: take at least 100" if samples_count < 100 else None


def _mean(samples: Sequence[float]) -> float:
    return math.fsum(samples) / len(samples)
