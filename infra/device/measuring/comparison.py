"""Two releases that ran in turns on one device."""

from __future__ import annotations

from collections.abc import Sequence

from infra.device.documents.latency_report import Comparison
from infra.device.documents.latency_summary import percentile, percentile_interval


def comparison(release_id: str, new_ms: Sequence[float], old_ms: Sequence[float]) -> Comparison:
    """How the time of the release at hand relates to that of another one.

    The two times of a round met the same machine, so each round gives a ratio, and the median over rounds leaves out
    those that something disturbed.

    Args:
        release_id: of the other.
        new_ms, old_ms: of this release and of the other, in the same rounds (`latency.measure_interleaved`); positive.

    Raises:
        ValueError: no rounds, or not as many of both.
    """
    if len(new_ms) != len(old_ms) or not new_ms:
        raise ValueError(f"comparison: got {len(new_ms)} and {len(old_ms)} rounds, wanted as many of both, at least 1")
    ratios = [new / old for new, old in zip(new_ms, old_ms)]
    low, high = percentile_interval(ratios, 0.5)
    return Comparison(release_id, len(ratios), percentile(ratios, 0.5), low, high)
