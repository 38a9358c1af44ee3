"""What cannot be had on purpose from a real Ray; all else is in tests/integration/test_ray_pool.py."""

from __future__ import annotations

import os

import pytest

from infra import ray_pool
from infra.errors import WorkerLostError
from infra.ray_pool import run_on_ray


def test_run_on_ray_is_worth_another_try_when_ray_was_not_there_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def start(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray_pool.ray, "init", start)
    monkeypatch.setattr(ray_pool.ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(WorkerLostError, match=r"did not start in time.*timed out during startup"):
        run_on_ray(os.getpid, timeout_s=60)
    assert ended == [True]
    assert ray_pool._connection is None


@pytest.mark.parametrize(("quota", "cpus"), [(None, 4), (0.5, 1), (2.5, 2), (64.0, 4)])
def test_a_local_ray_has_as_many_cpus_as_its_process_may_use(
    quota: float | None, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(ray_pool, "cpu_quota", lambda: quota)
    monkeypatch.setattr(ray_pool, "memory_limit", lambda: None)
    assert ray_pool._limits() == {"num_cpus": cpus}


def test_a_cluster_that_scales_is_waited_for_while_it_has_no_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_pool, "_nodes", dict)
    ray_pool.Room("train", 1, 0, 0, scales=True).require()
    assert "the Ray cluster has no node; waiting for it to add a node" in caplog.text
    with pytest.raises(WorkerLostError, match="the nodes that it waited for are gone"):
        ray_pool.Room("train", 1, 0, 0, scales=False).require()
