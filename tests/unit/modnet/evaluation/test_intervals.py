"""Intervals hold their mean, are the same each time, and widen with what they should widen with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from modnet.errors import DatasetError
from modnet.evaluation.intervals import difference_interval, mean_interval, ratio_interval
from modnet.records import ImageScore, Scores


def scores(values: Sequence[float], *, bands: Sequence[float | None] | None = None, **changes: object) -> Scores:
    images = []
    for number, value in enumerate(values):
        band = None if bands is None else bands[number]
        errors = {"mse": value, "mad": value} | ({} if band is None else {"unknown_mse": band})
        images.append(ImageScore(stem=f"{number:04d}", errors=errors))
    means = dict.fromkeys(("mse", "mad"), float(np.mean(values)))
    made = Scores(split="val", protocol="modelcompression", images=len(images), errors=means, per_image=tuple(images))
    return made.model_copy(update=changes)


VALUES = np.random.default_rng(3).random(60).tolist()


def test_mean_interval_contains_the_mean_and_is_as_wide_as_theory_says() -> None:
    interval = mean_interval(scores(VALUES), "mse")
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(np.mean(VALUES))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.std(VALUES) / np.sqrt(60), rel=0.05)


def test_mean_interval_is_the_same_each_time_and_in_any_order_of_images() -> None:
    made = scores(VALUES)
    turned = made.model_copy(update={"per_image": made.per_image[::-1]})
    assert mean_interval(made, "mse") == mean_interval(made, "mse") == mean_interval(turned, "mse")


def test_mean_interval_has_no_width_when_there_is_one_image() -> None:
    interval = mean_interval(scores([0.25]), "mse")
    assert (interval.low, interval.mean, interval.high) == (0.25, 0.25, 0.25)


def test_mean_interval_leaves_out_images_without_the_error() -> None:
    interval = mean_interval(scores([0.5, 0.5], bands=[None, 0.125]), "unknown_mse")
    assert (interval.low, interval.mean, interval.high) == (0.125, 0.125, 0.125)


def test_mean_interval_raises_when_no_image_has_the_error() -> None:
    with pytest.raises(DatasetError, match="grad of split 'val': none of 60 images has it"):
        mean_interval(scores(VALUES), "grad")


def test_difference_interval_is_exactly_zero_when_a_network_is_compared_with_itself() -> None:
    interval = difference_interval(scores(VALUES), scores(VALUES), "mse")
    assert (interval.low, interval.mean, interval.high) == (0, 0, 0)


def test_difference_interval_is_exact_when_all_images_are_worse_by_the_same() -> None:
    worse = [value + 0.25 for value in (0.125, 0.5, 0.75)]
    interval = difference_interval(scores(worse), scores([0.125, 0.5, 0.75]), "mse")
    assert (interval.low, interval.mean, interval.high) == (0.25, 0.25, 0.25)


def test_difference_interval_turns_its_sign_when_networks_are_exchanged() -> None:
    one, other = scores(VALUES), scores(VALUES[::-1])
    there, back = difference_interval(one, other, "mse"), difference_interval(other, one, "mse")
    assert (there.low, there.mean, there.high) == pytest.approx((-back.high, -back.mean, -back.low), abs=1e-12)


def test_ratio_interval_is_exact_when_all_images_are_worse_by_the_same_factor() -> None:
    interval = ratio_interval(scores([0.125, 0.5, 0.75]), scores([0.0625, 0.25, 0.375]), "mse")
    assert (interval.low, interval.mean, interval.high) == (2, 2, 2)


def test_ratio_interval_lies_below_a_factor_where_the_difference_to_as_many_times_the_others_lies_below_zero() -> None:
    one, other = scores(VALUES), scores([0.5 * value + 0.2 for value in VALUES[::-1]])
    ratio = ratio_interval(one, other, "mse")
    assert ratio.low < ratio.mean == one.error / other.error < ratio.high
    at_the_end = scores([ratio.high * score.error for score in other.per_image])
    assert difference_interval(one, at_the_end, "mse").high == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (scores(VALUES, split="tune"), "different splits cannot be compared: 'val' and 'tune'"),
        (scores(VALUES, protocol="aspect"), "different protocols cannot be compared: 'modelcompression' and 'aspect'"),
        (scores(VALUES[:-1]), "only the first has 0059, only the second none"),
        (scores(VALUES[:50]), "0054 and 5 more"),
    ],
    ids=["split", "protocol", "one image", "many images"],
)
def test_paired_intervals_raise_when_scores_are_of_something_else(others: Scores, message: str) -> None:
    for interval in (difference_interval, ratio_interval):
        with pytest.raises(DatasetError, match=message):
            interval(scores(VALUES), others, "mse")


def test_difference_interval_raises_when_only_one_has_the_error_of_an_image() -> None:
    one, other = scores([0.5, 0.5], bands=[0.5, None]), scores([0.5, 0.5], bands=[0.5, 0.5])
    with pytest.raises(DatasetError, match="unknown_mse was measured on other images than before: 0001"):
        difference_interval(one, other, "unknown_mse")
