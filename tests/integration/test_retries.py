"""Which failures a real Prefect engine tries again."""

from __future__ import annotations

import pytest
from prefect import flow, task
from prefect.testing.utilities import prefect_test_harness

from infra.device.errors import SettingsError, StoreUnavailableError
from infra.errors import WorkerLostError
from modnet.errors import ConfigError, DownloadError
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


@pytest.mark.parametrize("error", [StoreUnavailableError("a"), WorkerLostError("b"), DownloadError("c")], ids=type)
def test_is_transient_gives_another_try_when_the_failure_may_pass(error: Exception) -> None:
    assert runs_until_it_ends(error) == 1 + RETRIES["retries"]


@pytest.mark.parametrize("error", [SettingsError("a"), ConfigError("b"), RuntimeError("c")], ids=type)
def test_is_transient_gives_up_at_once_when_it_would_fail_again(error: Exception) -> None:
    assert runs_until_it_ends(error) == 1
