"""Where a search is, made from its events."""

from __future__ import annotations

from typing import Any

from modnet.configs.search import Range, SearchConfig, SearchSpace
from modnet.records import Learned, SearchEvent
from tasks.search_proposals import propose
from tasks.search_state import SearchState, state_of

RUNGS = (1, 3)
CONFIG = SearchConfig(reduction=2, candidates=4)
POINT = {"gmacs": 5.0, "input_shape": "", "criterion": "l1", "multiple": 8, "batch_only": False, "learning_rate": 1e-3}


def event(kind: str, name: str | None = None, **members: Any) -> SearchEvent:
    told = {"night_id": "night", "written_by": "test", "spent_s": 0.0, "kind": kind, "candidate_id": name}
    return SearchEvent.model_validate(told | members)


def started(name: str, gmacs: float = 5.0) -> SearchEvent:
    return event("started", name, rung=0, parameters=POINT | {"gmacs": gmacs})


def reached(name: str, error: float, epochs: int = 1) -> SearchEvent:
    return event("reached", name, epochs=epochs, error_ratio=error, latency_ratio=0.5, seconds=10.0 * epochs)


def state(*events: SearchEvent) -> SearchState:
    return state_of([event("began"), *events], RUNGS)


def test_who_is_best_goes_on_and_then_new_ones_begin_until_there_are_enough() -> None:
    now = state(started("a", 4), started("b", 5), reached("a", 1.5), reached("b", 1.2))
    step = now.next_step(CONFIG, seed=0)
    assert step is not None
    assert (step.candidate_id, step.rung, step.parameters["gmacs"]) == ("b", 1, 5)
    now.add(event("started", "b", rung=1))
    step = now.next_step(CONFIG, seed=0)
    assert step is not None
    assert (step.candidate_id, step.rung) == (None, 0)
    assert now.next_step(CONFIG.model_copy(update={"candidates": 2}), seed=0) is None


def test_what_was_paused_comes_first_and_at_the_rung_that_it_was_on_the_way_to() -> None:
    now = state(started("a"), reached("a", 1.0), event("started", "a", rung=1), event("paused", "a", reason="over"))
    step = now.next_step(CONFIG, seed=0)
    assert step is not None
    assert (step.candidate_id, step.rung) == ("a", 1)
    now.add(event("started", "a", rung=1))
    assert now.under_way == {"a": 1}
    assert not now.paused


def test_proposals_are_made_from_all_that_is_known() -> None:
    learned = Learned(parameters=POINT | {"gmacs": 7.0}, error_ratio=1.1, latency_ratio=0.6)
    now = state_of([event("began", learned=(learned,)), started("a"), event("refused", "a", reason="too slow")], RUNGS)
    step = now.next_step(CONFIG, seed=3)
    known = [*now.learned, *now.known()]
    assert step is not None
    assert [one.point for one in known] == [(1.1, 0.6), (4.0, 4.0)]
    assert step.parameters == propose(CONFIG.space, known, 3, 1)


def test_useless_candidates_in_a_row_are_counted_up_to_one_of_use_and_within_the_night() -> None:
    useless = [started("a"), event("failed", "a", reason="x"), started("b"), event("refused", "b", reason="y")]
    assert state(*useless).useless_in_a_row() == ["x", "y"]
    assert state(*useless, started("c"), reached("c", 1.0)).useless_in_a_row() == []
    assert state(*useless, event("ended"), event("began")).useless_in_a_row() == []


def test_a_candidate_between_rungs_says_why_it_stays_behind() -> None:
    now = state(started("a"), started("b"), reached("a", 1.5), reached("b", 1.2))
    assert now.why_stopped("a", 2) == "after epoch 1 it is none of the best 1 of 2, which go on"


def test_who_fails_after_a_rung_is_never_asked_again() -> None:
    now = state(started("a", 4), started("b", 5), reached("a", 1.5), reached("b", 1.2), event("started", "b", rung=1))
    now.add(event("failed", "b", reason="loss is nan"))
    step = now.next_step(CONFIG, seed=0)
    assert step is not None
    assert step.candidate_id is None
    now.add(started("c", 6))
    now.add(reached("c", 2.0))
    step = now.next_step(CONFIG, seed=0)
    assert step is not None
    assert step.candidate_id == "a"


def test_what_was_reached_twice_counts_once() -> None:
    now = state(started("a"), reached("a", 1.5), reached("a", 1.4))
    assert now.reached["a"].errors == (1.5,) == state(started("a"), reached("a", 1.5)).reached["a"].errors


def test_a_space_that_holds_no_other_candidate_gives_none() -> None:
    space = SearchSpace(
        gmacs=Range(least=5, most=5),
        criteria=("l1",),
        multiples=(8,),
        batch_only=(False,),
        learning_rate=Range(least=1e-3, most=1e-3),
    )
    config = SearchConfig(space=space)
    first = state().next_step(config, seed=0)
    assert first is not None
    now = state(event("started", "a", rung=0, parameters=dict(first.parameters)), reached("a", 1.0))
    assert now.next_step(config, seed=0) is None
