from __future__ import annotations

import os
from typing import Any

import pytest

from infra.deploy import worker
from infra.local_stack import renew


def test_worker_says_which_variables_are_missing(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["worker"])
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api")
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    assert worker.main() == 3
    assert capsys.readouterr().err.startswith("PREFECT_API_AUTH_STRING: not set")


def test_worker_is_not_online_where_no_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["worker", "--is-online"])
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "secret")
    assert worker.main() == 1


class _Server:
    """A Prefect server that has just started."""

    url = "https://prefect.example.org/api"

    def __init__(self) -> None:
        self.asked_count, self.pools, self.queues = 0, [], {}

    def is_healthy(self) -> bool:
        self.asked_count += 1
        return self.asked_count > 1

    def work_pools(self) -> list[str]:
        return self.pools

    def make_work_pool(self, name: str) -> None:
        self.pools.append(name)

    def keep_work_queue(self, pool: str, name: str, limit: int, says: str) -> None:
        self.queues[pool, name] = limit


def test_worker_settles_what_was_lost_before_it_takes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    server, steps = _Server(), []
    monkeypatch.setattr(worker, "_POLL_S", 0.0)
    monkeypatch.setattr(worker, "settle_begun", lambda api, because: steps.append("settle") or [])
    monkeypatch.setattr(worker, "skip_missed_runs", lambda api: steps.append("skip"))
    monkeypatch.setattr(worker, "run_prefect", lambda arguments, **_: steps.append(arguments[1:]))
    monkeypatch.setattr(worker, "automate", lambda api, webhook: steps.append(("automate", webhook)))
    monkeypatch.setattr(renew, "main", lambda: steps.append("renew"))
    worker._prepare(server, "https://hooks.example.org/secret")
    assert (server.pools, server.queues) == (["modnet"], {("modnet", "computing"): 1})
    assert steps == ["settle", "skip", ("deploy", "--all"), ("automate", "https://hooks.example.org/secret"), "renew"]


def test_worker_gives_the_webhook_to_the_server_and_to_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["worker"])
    monkeypatch.setenv("MODNET_WEBHOOK_URL", "https://hooks.example.org/secret")
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "secret")
    given: list[str | None] = []
    monkeypatch.setattr(worker, "_prepare", lambda api, webhook: given.append(webhook))
    monkeypatch.setattr(worker, "run_together", lambda _: 0 if "MODNET_WEBHOOK_URL" not in os.environ else 1)
    assert worker.main() == 0
    assert given == ["https://hooks.example.org/secret"]
