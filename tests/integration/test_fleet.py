"""A small fleet of real agents through every fault, against a real store and ingest."""

from __future__ import annotations

import pytest

from benchmarks.fleet.__main__ import main


@pytest.mark.slow
def test_a_fleet_loses_nothing_and_measures_nothing_that_is_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODNET_STORE", "NO_PROXY"):  # the benchmark sets them in its own process
        monkeypatch.setenv(name, "")
    with monkeypatch.context() as environment:
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            environment.setenv(name, "/dev/null")
        assert main(["--agents", "6", "--releases", "10", "--at-once", "6"]) == 0
