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
