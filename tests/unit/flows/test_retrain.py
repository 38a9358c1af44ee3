"""The flow retrain, with a task that only remembers what it was asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prefect.states import Completed

from flows import retrain
from modnet.configs import ComputeConfig


class Futures(list[SimpleNamespace]):
    """Task runs that are over."""

    def wait(self) -> None:
        """Does not take long."""


class RememberingTask:
    """Stands for the task retrain_candidate."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def map(self, candidate_ids: list[str], _: object) -> Futures:
        """Completes at once."""
        self.asked += candidate_ids
        return Futures(SimpleNamespace(state=Completed()) for _ in candidate_ids)


def test_retrain_trains_a_candidate_once_that_is_named_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    task = RememberingTask()
    monkeypatch.setattr(retrain, "retrain_candidate", task)
    assert retrain.retrain_candidates.fn(["b", "a", "b"], ComputeConfig()) == {}
    assert task.asked == ["b", "a"]
