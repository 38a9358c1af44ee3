"""STUB until the real one is merged: the ratio of two releases that ran in turns."""

from __future__ import annotations

from collections.abc import Sequence

from infra.device.documents.latency_report import Comparison
from infra.device.documents.latency_summary import percentile


def comparison(release_id: str, new_ms: Sequence[float], old_ms: Sequence[float]) -> Comparison:
    """Median, smallest and largest ratio of the rounds."""
    ratios = [new / old for new, old in zip(new_ms, old_ms)]
    return Comparison(release_id, len(ratios), percentile(ratios, 0.5), min(ratios), max(ratios))
