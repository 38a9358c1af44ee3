"""Proposals: in the space, the same from the same knowledge, and better with more of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modnet.configs import PruningConfig, UniformPolicy
from modnet.configs.search import Range, SearchSpace
from modnet.workloads import settings_named
from tasks.search_proposals import Known, Parameters, parameters_of, propose, pruning_of

SPACE = SearchSpace(gmacs=Range(least=1, most=9), input_shapes=("480x320", "384x256"))
RETRAIN = settings_named(None).retraining()


def point_of(parameters: Parameters) -> tuple[float, float]:
    """A made-up truth: fewer MACs are faster and err more, and one criterion is better than the other."""
    worse = 0.0 if parameters["criterion"] == "taylor" else 0.5
    return 1 + 4 / parameters["gmacs"] + worse, parameters["gmacs"] / 12


def searched(count: int, seed: int = 0) -> list[Known]:
    known: list[Known] = []
    for number in range(count):
        parameters = propose(SPACE, known, seed, number)
        known.append(Known(parameters, point_of(parameters)))
    return known


def test_a_proposal_lies_in_the_space_and_is_new() -> None:
    known = searched(30)
    for parameters, _ in known:
        assert 1 <= parameters["gmacs"] <= 9
        assert parameters["input_shape"] in SPACE.input_shapes
        assert 3e-4 <= parameters["learning_rate"] <= 3e-3
    assert len({tuple(parameters.values()) for parameters, _ in known}) == 30


def test_the_same_knowledge_gives_the_same_proposal_in_another_process_too() -> None:
    known = searched(12)
    assert propose(SPACE, known, 0, 12) == propose(SPACE, list(known), 0, 12)
    assert propose(SPACE, known, 0, 12) != propose(SPACE, known, 1, 12)


def test_later_proposals_prefer_what_was_good() -> None:
    found = [parameters["criterion"] for seed in range(3) for parameters, _ in searched(40, seed)[20:]]
    assert found.count("taylor") > 0.7 * len(found)


def test_what_is_under_way_or_outside_of_the_space_hinders_nothing() -> None:
    outside = {**propose(SPACE, [], 0, 0), "gmacs": 100.0}
    known = [*searched(10), Known(propose(SPACE, [], 7, 0), None), Known(outside, (1.0, 1.0))]
    assert propose(SPACE, known, 0, 11)["gmacs"] <= 9


def test_parameters_and_candidates_turn_into_each_other() -> None:
    parameters = propose(SPACE, [], 0, 0)
    pruning = pruning_of(parameters, ["stem.*"])
    retrain = RETRAIN.model_copy(update={"learning_rate": parameters["learning_rate"]})
    again = parameters_of(pruning, retrain)
    assert again is not None
    assert again | {"gmacs": 0} == dict(parameters) | {"gmacs": 0}
    assert again["gmacs"] == pytest.approx(parameters["gmacs"], abs=1e-9)


def test_a_candidate_of_another_policy_has_no_parameters() -> None:
    assert parameters_of(PruningConfig(policy=UniformPolicy(ratio=0.5)), RETRAIN) is None


def test_a_space_that_holds_nothing_is_refused_in_words() -> None:
    with pytest.raises(ValidationError, match="least 9 is above most 1"):
        Range(least=9, most=1)
    with pytest.raises(ValidationError, match="criteria"):
        SearchSpace(criteria=())
