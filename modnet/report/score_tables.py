"""Scores as rows of tables, each mean with its bootstrap interval; and the difference of two, image by image."""

from modnet.evaluation.intervals import Interval, difference_interval, mean_interval
from modnet.records import Scores

Row = dict[str, str]


def intervals(scores: Scores) -> dict[str, Interval]:
    """The interval of every error that was measured, by name."""
    return {name: mean_interval(scores, name) for name in scores.errors}


def differences(scores: Scores, others: Scores) -> dict[str, Interval]:
    """The interval of `scores` less `others` of every error that was measured of both, by name.

    Raises:
        DatasetError: split, protocol or images differ; says what.
    """
    both = [name for name in scores.errors if name in others.errors]
    return {name: difference_interval(scores, others, name) for name in both}


def score_rows(scores: Scores) -> list[Row]:
    """One row per error: its mean over images, and the interval of 95 %."""
    return [
        {
            "error": name,
            "mean": f"{interval.mean:.6f}",
            "95 % interval": _range(interval),
            "images": str(scores.images_with(name)),
        }
        for name, interval in intervals(scores).items()
    ]


def difference_rows(scores: Scores, others: Scores) -> list[Row]:
    """One row per error that was measured of both: the means, their difference, its interval of 95 % and what it says.

    Raises:
        DatasetError: as `differences`.
    """
    return [
        {
            "error": name,
            "this": f"{scores.errors[name]:.6f}",
            "other": f"{others.errors[name]:.6f}",
            "difference": f"{interval.mean:+.6f}",
            "95 % interval": _range(interval, sign="+"),
            "this is": _verdict(interval),
        }
        for name, interval in differences(scores, others).items()
    ]


def _range(interval: Interval, sign: str = "") -> str:
    return f"{interval.low:{sign}.6f} to {interval.high:{sign}.6f}"


def _verdict(interval: Interval) -> str:
    if interval.high < 0:
        return "better"
    if interval.low > 0:
        return "worse"
    return "equal" if interval.low == interval.high else "not to be told apart"
