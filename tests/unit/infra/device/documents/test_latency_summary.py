from __future__ import annotations

import random

import pytest

from infra.device.documents.latency_summary import (
    INTERVALS,
    LatencySummary,
    intervals,
    percentile,
    percentile_note,
    summarise,
)


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.01, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.9, 4.0), (1.0, 4.0)]
)
def test_percentile_is_the_nearest_rank(share: float, wanted: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == wanted


@pytest.mark.parametrize(("samples", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_percentile_refuses_empty_samples_and_shares_outside(samples: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="wanted at least 1 sample"):
        percentile(samples, share)


def test_summarise_gives_hand_computed_statistics() -> None:
    summary = summarise([1.0, 3.0, 100.0, 4.0, 8.0])
    assert summary == LatencySummary(
        mean_ms=116 / 5, p50_ms=4.0, p90_ms=100.0, p99_ms=100.0, drift_ratio=((4 + 8) / 2) / ((1 + 3 + 100) / 3)
    )


def test_summarise_has_no_drift_when_there_is_one_sample() -> None:
    assert summarise([5.0]) == LatencySummary(mean_ms=5.0, p50_ms=5.0, p90_ms=5.0, p99_ms=5.0, drift_ratio=1.0)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100])
def test_percentile_note_says_which_percentiles_are_only_the_largest_sample(count: int) -> None:
    samples = [float(number) for number in range(count)]
    largest = [name for name, share in (("p90", 0.9), ("p99", 0.99)) if percentile(samples, share) == max(samples)]
    note = percentile_note(count) or ""
    assert [name for name in ("p90", "p99") if name in note.partition(":")[0]] == largest


def test_intervals_are_those_of_many_resamples() -> None:
    generator = random.Random(0)
    samples = [generator.lognormvariate(2.0, 0.3) for _ in range(60)]
    drawn = [sorted(generator.choices(samples, k=60)) for _ in range(20_000)]
    found = intervals(samples)
    for name, rank in (("p50", 30), ("p90", 54), ("p99", 60)):
        of_resamples = sorted(one[rank - 1] for one in drawn)
        in_order = sorted(samples)
        for end, place in (("low", 500), ("high", 19_500)):  # within one sample: 20,000 draws are not all of them
            got, wanted = (in_order.index(value) for value in (found[f"{name}_{end}"], of_resamples[place]))
            assert abs(got - wanted) <= 1, (name, end)


def test_the_interval_of_one_sample_is_that_sample() -> None:
    assert set(intervals([5.0]).values()) == {5.0}
    assert tuple(intervals([5.0])) == INTERVALS
