"""Who takes a target: a test for each rule, with the sentence that says so."""

from __future__ import annotations

from typing import Any

import pytest

from modnet.evaluation.champion import Standing, Verdict, choose
from modnet.records import Contender

CHAMPION = "c3d4c3d4c3d4"
NEW = "a1b2a1b2a1b2"


def standing(
    latency: tuple[float, float, float] = (0.81, 0.79, 0.83),
    difference: tuple[float, float, float] = (-0.00031, -0.0005, -0.00009),
    release_id: str = NEW,
    **changes: Any,
) -> Standing:
    """Of a release beside a champion whose error is 0.01."""
    ratio, low, high = latency
    contender = Contender(
        release_id=release_id,
        network_id="0123456789ab",
        label="3G",
        error=0.01 + difference[0],
        difference_low=difference[1],
        difference_high=difference[2],
        latency_ratio=ratio,
        latency_low=low,
        latency_high=high,
        latency_by="devices kitchen, desk",
    )
    objection = changes.pop("objection", None)
    return Standing(contender.model_copy(update=changes), 0.01, "on 2 devices", objection)


def chosen(*standings: Standing) -> Verdict:
    return choose("cpu-int8", CHAMPION, standings, margin=0.02)


FASTER, ALIKE, SLOWER = (0.81, 0.79, 0.83), (0.99, 0.97, 1.01), (1.2, 1.1, 1.3)
BETTER, SAME, WORSE = (-0.0003, -0.0005, -0.0001), (0.0, -0.0001, 0.0001), (0.0003, 0.0001, 0.0005)


def test_the_winner_takes_the_target_in_one_sentence_with_the_numbers() -> None:
    verdict = chosen(standing())
    assert verdict.winner is not None
    assert verdict.winner.release_id == NEW
    assert verdict.words == (
        f"release {NEW} takes cpu-int8: 0.81 times the latency of {CHAMPION} on 2 devices (0.79 to 0.83), "
        "tune error -3.1 % (-5.0 to -0.9 %)"
    )


@pytest.mark.parametrize(
    ("latency", "difference", "wins"),
    [
        (FASTER, BETTER, True),
        (FASTER, SAME, True),
        (FASTER, WORSE, False),
        (ALIKE, BETTER, True),
        (ALIKE, SAME, False),
        (ALIKE, WORSE, False),
        (SLOWER, BETTER, False),
        (SLOWER, SAME, False),
    ],
)
def test_a_contender_must_be_surely_not_worse_and_surely_better_in_something(
    latency: tuple[float, float, float], difference: tuple[float, float, float], wins: bool
) -> None:
    assert (chosen(standing(latency, difference)).winner is not None) == wins


@pytest.mark.parametrize(("high", "wins"), [(0.0002, True), (0.000201, False)])
def test_the_margin_is_a_share_of_the_champions_error(high: float, wins: bool) -> None:
    assert (chosen(standing(FASTER, (0.0, -0.0001, high))).winner is not None) == wins


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        (
            standing(FASTER, WORSE),
            "it may err more: tune error +3.0 % (+1.0 to +5.0 %), at most 2 % is allowed",
        ),
        (standing(SLOWER, SAME), f"it is slower: 1.20 times the latency of {CHAMPION} on 2 devices (1.10 to 1.30)"),
        (
            standing(ALIKE, SAME),
            f"neither surely faster nor surely better: 0.99 times the latency of {CHAMPION} on 2 devices "
            "(0.97 to 1.01), tune error +0.0 % (-1.0 to +1.0 %)",
        ),
        (standing(error=None), "nobody knows how much it errs"),
        (standing(difference_high=None), "nobody knows how much it errs"),
        (standing(latency_ratio=None), "nobody knows how fast it is"),
        (standing(objection="devices disagree: a: faster; b: slower"), "devices disagree: a: faster; b: slower"),
    ],
    ids=["error", "slower", "neither", "no error", "no interval", "no latency", "objection"],
)
def test_the_champion_stays_in_one_sentence_with_the_reason(judged: Standing, words: str) -> None:
    assert chosen(judged) == Verdict(None, f"release {CHAMPION} stays: {NEW}: {words}")


def test_of_several_the_fastest_wins() -> None:
    slow = standing((0.9, 0.88, 0.92), BETTER, "b" * 12)
    verdict = chosen(slow, standing(FASTER, SAME))
    assert verdict.winner is not None
    assert verdict.winner.release_id == NEW
    assert verdict.words.endswith(f"; before {'b' * 12}, allowed as well")


def test_of_equally_fast_ones_the_one_with_the_lower_error_wins() -> None:
    close = standing((0.82, 0.80, 0.84), BETTER, "b" * 12)
    verdict = chosen(standing(FASTER, SAME), close)
    assert verdict.winner is not None
    assert verdict.winner.release_id == "b" * 12


def test_where_none_is_allowed_each_reason_is_said() -> None:
    verdict = chosen(standing(SLOWER), standing(FASTER, WORSE, "b" * 12))
    assert verdict.winner is None
    assert f"{NEW}: it is slower" in verdict.words
    assert f"; {'b' * 12}: it may err more" in verdict.words


def test_a_champion_that_does_not_err_is_compared_in_numbers() -> None:
    contender = standing(FASTER, SAME).contender.model_copy(update={"error": 0.0001, "difference_low": 0.0})
    verdict = choose("cpu-int8", CHAMPION, [Standing(contender, 0.0, "on the host")], 0.02)
    assert "tune error 0.000100 against 0 (+0.000000 to +0.000100)" in verdict.words
