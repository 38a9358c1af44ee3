"""Scores as rows of tables, each mean with its bootstrap interval; and the difference of two, image by image."""

from __future__ import annotations

from modnet.evaluation.intervals import Interval, difference_interval, mean_interval
from modnet.records import ERROR_NAMES, MattingScores

Row = dict[str, str]


def intervals(scores: MattingScores) -> dict[str, Interval]:
    """The interval of every error that was measured, by name."""
    return {name: mean_interval(scores, name) for name in _measured(scores)}


def differences(scores: MattingScores, others: MattingScores) -> dict[str, Interval]:
    """The interval of `scores` less `others` of every error that was measured of both, by name.

    Raises:
        DatasetError: split, protocol or images differ; says what.
    """
    both = [name for name in _measured(scores) if getattr(others, name) is not None]
    return {name: difference_interval(scores, others, name) for name in both}


def score_rows(scores: MattingScores) -> list[Row]:
    """One row per error: its mean over images, and the interval of 95 %."""
    return [
        {
            "error": name,
            "mean": f"{interval.mean:.6f}",
            "95 % interval": _range(interval),
            "images": str(scores.unknown_images if name.startswith("unknown") else scores.images),
        }
        for name, interval in intervals(scores).items()
    ]


def difference_rows(scores: MattingScores, others: MattingScores) -> list[Row]:
    """One row per error that was measured of both: the means, their difference, its interval of 95 % and what it says.

    Raises:
        DatasetError: split, protocol or images differ; says what.
    """
    return [
        {
            "error": name,
            "this": f"{getattr(scores, name):.6f}",
            "other": f"{getattr(others, name):.6f}",
            "difference": f"{interval.mean:+.6f}",
            "95 % interval": _range(interval, sign="+"),
            "this is": _verdict(interval),
        }
        for name, interval in differences(scores, others).items()
    ]


def _measured(scores: MattingScores) -> list[str]:
    return [name for name in ERROR_NAMES if getattr(scores, name) is not None]


def _range(interval: Interval, sign: str = "") -> str:
    return f"{interval.low:{sign}.6f} to {interval.high:{sign}.6f}"


def _verdict(interval: Interval) -> str:
    if interval.high < 0:
        return "better"
    if interval.low > 0:
        return "worse"
    return "equal" if interval.low == interval.high else "not to be told apart"
