"""Tasks of a search that ask the cluster."""

from __future__ import annotations

import logging

import pytest

import tasks.search
from infra.errors import WorkerLostError
from modnet.configs import ComputeConfig
from tasks.search import places_now


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    logger = logging.getLogger("search")
    monkeypatch.setattr(tasks.search, "get_run_logger", lambda: logger)
    return logger


def test_places_now_follows_nodes_that_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def places(cpus: float, address: str | None) -> int:
        asked.append(cpus)
        return [2, 4, 0][len(asked) - 1]

    monkeypatch.setattr(tasks.search, "places", places)
    compute = ComputeConfig(candidate_cpus=1)
    assert [places_now(compute, 2) for _ in range(3)] == [2, 4, 1]  # at least one: a cluster may be waited for
    assert asked == [1, 1, 1]


def test_places_now_stays_where_ray_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def places(cpus: float, address: str | None) -> int:
        raise WorkerLostError("the local Ray has died, and other computations on it are ending")

    monkeypatch.setattr(tasks.search, "places", places)
    with caplog.at_level(logging.WARNING):
        assert places_now(ComputeConfig(), 3) == 3
    assert "stays 3: the local Ray has died" in caplog.text
