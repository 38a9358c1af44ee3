"""How far a mean over images, or the difference of two, would move with other images: bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modnet.errors import DatasetError
from modnet.records import Scores

RESAMPLES = 10_000
CONFIDENCE = 0.95
_BLOCK = 1_000  # resamples drawn at once: bounds the memory
_SEED = 0


@dataclass(frozen=True)
class Interval:
    """A mean, a ratio of two or a median, and its percentile bootstrap interval of `CONFIDENCE`."""

    mean: float
    low: float
    high: float


def mean_interval(scores: Scores, error: str) -> Interval:
    """Interval of the mean of one error over images, from `RESAMPLES` draws of as many images with replacement.

    Seeded: same scores, same interval. It speaks of the choice of images only; of few images, 20 or less, such
    intervals are too narrow. Images without the error are left out.

    Raises:
        DatasetError: no image has that error.
    """
    values = np.array(list(_values(scores, error).values()))
    return _interval(float(values.mean()), _mean_draws(values))


def difference_interval(scores: Scores, others: Scores, error: str) -> Interval:
    """Interval of the mean of `scores` less `others`, image by image: below 0 where `scores` is better.

    Both are of the same images under the same protocol. Paired: an image that is hard for both networks moves neither
    the difference nor its interval. An interval on one side of 0 says that the same network would be better on most
    other draws of images.

    Raises:
        DatasetError: split, protocol or images differ, or only one of both has that error; says what.
    """
    values, other_values = _paired(scores, others, error)
    return _interval(float((values - other_values).mean()), _mean_draws(values - other_values))


def ratio_interval(scores: Scores, others: Scores, error: str) -> Interval:
    """Interval of the mean of `scores` over that of `others`, not 0 in every image: below 1 where `scores` is better.

    Paired as `difference_interval` is: both means are of the same draw of images.

    Raises:
        DatasetError: as `difference_interval` does.
    """
    values, other_values = _paired(scores, others, error)
    return _interval(float(values.mean() / other_values.mean()), _mean_draws(values) / _mean_draws(other_values))


def median_ratio_interval(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """Interval of the median of the ratios of two series of latencies, positive, as many, taken round by round.

    What slows down both in a round cancels out. From `RESAMPLES` seeded draws of rounds with replacement: it speaks of
    other rounds on the same machine.
    """
    ratios = np.asarray(numerator, dtype=float) / np.asarray(denominator, dtype=float)
    draws = np.random.default_rng(_SEED).integers(ratios.size, size=(RESAMPLES, ratios.size))
    return _interval(float(np.median(ratios)), np.median(ratios[draws], axis=1))


def _paired(scores: Scores, others: Scores, error: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    for name in ("split", "protocol"):
        this, other = (getattr(one, name) for one in (scores, others))
        if this != other:
            raise DatasetError(f"scores of different {name}s cannot be compared: {this!r} and {other!r}")
    images, other_images = ({score.stem for score in one.per_image} for one in (scores, others))
    if images != other_images:
        raise DatasetError(
            f"scores of different images cannot be compared: only the first has {_some(images - other_images)}, "
            f"only the second {_some(other_images - images)}"
        )
    values, other_values = _values(scores, error), _values(others, error)
    if values.keys() != other_values.keys():
        raise DatasetError(f"{error} was measured on other images than before: {_some(values.keys() ^ other_values)}")
    return np.array(list(values.values())), np.array(list(other_values.values()))


def _values(scores: Scores, error: str) -> dict[str, float]:
    """The error by stem, in order of stems: the same images in another order give the same interval."""
    by_stem = {score.stem: score.errors[error] for score in scores.per_image if error in score.errors}
    values = {stem: by_stem[stem] for stem in sorted(by_stem)}
    if not values:
        raise DatasetError(f"{error} of split {scores.split!r}: none of {scores.images} images has it")
    return values


def _mean_draws(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(RESAMPLES,): means of draws with replacement, the same draws for as many values."""
    random = np.random.default_rng(_SEED)
    draws = (random.integers(values.size, size=(_BLOCK, values.size)) for _ in range(RESAMPLES // _BLOCK))
    return np.concatenate([values[draw].mean(axis=1) for draw in draws])


def _interval(estimate: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(mean=estimate, low=float(low), high=float(high))


def _some(stems: set[str]) -> str:
    first = sorted(stems)
    listing = ", ".join(first[:5]) or "none"
    return listing if len(first) <= 5 else f"{listing} and {len(first) - 5} more"
