"""STUB until the real one is merged: what speaks against a measurement."""

from __future__ import annotations

from infra.device.documents.latency_report import LatencyReport


def doubts(report: LatencyReport) -> tuple[str, ...]:
    """Nothing."""
    return ()
