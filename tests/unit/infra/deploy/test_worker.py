from __future__ import annotations

from typing import Any

import pytest

from infra.deploy import worker


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
