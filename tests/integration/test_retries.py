"""Which failures a real Prefect engine tries again."""

from __future__ import annotations

import pytest
from prefect import flow, task
from prefect.testing.utilities import prefect_test_harness

from infra.device.errors import SettingsError, StoreUnavailableError
from tasks.retries import RETRIES, is_transient


@pytest.fixture(scope="module", autouse=True)
def prefect_server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


def runs_until_it_ends(error: Exception) -> int:
    """How often a task that always raises `error` is run."""
    calls = []

    @task(retry_condition_fn=is_transient, **(RETRIES | {"retry_delay_seconds": 0, "retry_jitter_factor": None}))
    def failing() -> None:
        calls.append(1)
        raise error

    @flow
    def once() -> None:
        failing()

    with pytest.raises(type(error)):
        once()
    return len(calls)


def test_what_may_pass_is_tried_again() -> None:
    assert runs_until_it_ends(StoreUnavailableError("a")) == 1 + RETRIES["retries"]


def test_what_would_fail_again_is_given_up_at_once() -> None:
    assert runs_until_it_ends(SettingsError("a")) == 1
