"""Who trains on: ranks over two objectives, and rungs that nobody waits for."""

from __future__ import annotations

import random

import pytest

from modnet.search.halving import Reached, may_go_on, next_to_go_on, ranked, rung_epochs


@pytest.mark.parametrize(
    ("epochs", "reduction", "first", "rungs"),
    [(18, 3, 2, (2, 6, 18)), (10, 3, 2, (2, 6, 10)), (2, 3, 2, (2,)), (1, 3, 2, (1,)), (8, 2, 1, (1, 2, 4, 8))],
)
def test_rungs_grow_by_the_reduction_and_end_with_the_training(
    epochs: int, reduction: int, first: int, rungs: tuple[int, ...]
) -> None:
    assert rung_epochs(epochs, reduction, first) == rungs


def test_ranked_puts_whole_fronts_one_after_the_other_and_their_ends_first() -> None:
    points = {"fast": (2.0, 0.1), "middle": (1.5, 0.5), "good": (1.0, 0.9), "beaten": (2.5, 0.6), "worst": (3.0, 1.0)}
    assert ranked(points) == ["fast", "good", "middle", "beaten", "worst"]


def test_ranked_never_puts_a_point_before_one_that_beats_it() -> None:
    chance = random.Random(0)
    points = {f"{n:02d}": (chance.randint(0, 9) / 10, chance.randint(0, 9) / 10) for n in range(60)}
    order = ranked(points)
    assert sorted(order) == sorted(points)
    for place, name in enumerate(order):
        for later in order[place + 1 :]:
            better, worse = points[later], points[name]
            assert not (better != worse and better[0] <= worse[0] and better[1] <= worse[1])


def test_nobody_goes_on_before_as_many_have_reached_a_rung_as_the_reduction_says() -> None:
    reached = {"a": Reached(0.5, (1.0,)), "b": Reached(0.4, (1.2,))}
    assert next_to_go_on(reached, 3, 3) is None
    reached["c"] = Reached(0.6, (1.5,))
    assert next_to_go_on(reached, 3, 3) in ("a", "b")


def test_who_goes_on_comes_from_the_highest_rung_and_is_not_under_way() -> None:
    reached = {f"{n}": Reached(0.5, (1.0 + n / 10, 1.0 + n / 10)) for n in range(3)}
    reached |= {f"low{n}": Reached(0.9, (2.0 + n,)) for n in range(6)}
    assert next_to_go_on(reached, 3, 3) == "0"
    assert next_to_go_on(reached, 3, 3, under_way=["0"]) is None
    assert may_go_on(reached, 0, 3) == ["0", "1", "2"]


def test_nobody_goes_on_from_the_last_rung() -> None:
    reached = {f"{n}": Reached(0.5, (1.0 + n,)) for n in range(9)}
    assert next_to_go_on(reached, 1, 3) is None
