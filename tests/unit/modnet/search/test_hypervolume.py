from __future__ import annotations

import random
from itertools import pairwise

import pytest

from modnet.search.hypervolume import REFERENCE, Point, front, hypervolume


def by_counting(points: list[Point], reference: Point) -> float:
    """The same by cells of the grid that all coordinates make: each counts whose lower corner a point beats."""
    firsts = sorted({reference[0], *(first for first, _ in points if first < reference[0])})
    seconds = sorted({reference[1], *(second for _, second in points if second < reference[1])})
    return sum(
        (right - left) * (top - bottom)
        for left, right in pairwise(firsts)
        for bottom, top in pairwise(seconds)
        if any(first <= left and second <= bottom for first, second in points)
    )


def test_a_staircase_worked_out_by_hand() -> None:
    points = [(1.0, 1.0), (1.5, 0.5), (1.75, 0.75)]  # the last is beaten by the one before
    assert front(points) == [(1.0, 1.0), (1.5, 0.5)]
    assert hypervolume(points) == pytest.approx(1.0 * 0.5 + 0.5 * 0.5)


def test_the_base_alone_is_worth_half_and_nothing_is_worth_nothing() -> None:
    assert hypervolume([(1.0, 1.0)]) == 0.5
    assert hypervolume([]) == 0.0
    assert front([]) == []


@pytest.mark.parametrize("point", [REFERENCE, (2.0, 0.1), (0.1, 1.5), (3.0, 0.1), (0.1, 9.0), (7.0, 7.0)])
def test_what_is_not_better_than_the_reference_in_both_counts_nothing(point: Point) -> None:
    assert hypervolume([point]) == 0.0
    assert hypervolume([point, (1.0, 1.0)]) == 0.5


def test_equal_points_and_equal_objectives_count_once() -> None:
    assert front([(1.0, 1.0), (1.0, 1.0), (1.0, 1.2), (1.3, 1.0)]) == [(1.0, 1.0)]
    assert hypervolume([(1.0, 1.0)] * 3 + [(1.0, 1.2), (1.3, 1.0)]) == 0.5


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_counting_cells_in_any_order(seed: int) -> None:
    generator = random.Random(seed)
    # few different values, so that many coordinates are equal; some beyond the reference
    points = [
        (generator.randrange(1, 25) / 10, generator.randrange(1, 20) / 10) for _ in range(generator.randrange(30))
    ]
    wanted = by_counting(points, REFERENCE)
    assert hypervolume(points) == pytest.approx(wanted, abs=1e-12)
    generator.shuffle(points)
    assert hypervolume(points) == pytest.approx(wanted, abs=1e-12)
    assert hypervolume(front(points)) == pytest.approx(wanted, abs=1e-12)
    better = {one for one in points if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in points)}
    assert set(front(points)) == better
