"""Figures for Prometheus, of a real Prefect server and a real ingest, read by Prometheus's own parser."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled
from prefect.testing.utilities import prefect_test_harness
from prometheus_client.parser import text_string_to_metric_families

from infra.device.documents.checks import utc_now
from infra.device.stores.folder_store import FolderStore
from infra.fleet.findings import Running
from infra.local_stack.environments import MARKER
from tasks import metrics
from tasks.fleet_page import Fleet
from tasks.metrics import FILE, write_metrics
from tests.unit.infra.fleet.test_findings import ROW, pointer

Figures = dict[tuple[str, ...], float]


def figures(text: str) -> Figures:
    """Each value by the metric's name and its labels."""
    return {
        (sample.name.removeprefix("modnet_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@flow(name="good")
def good(fails: bool) -> None:
    if fails:
        raise ValueError("of no use")
    inner()


@flow(name="inner")
def inner() -> None:
    pass


def fleet(now: datetime) -> Fleet:
    enrolled = {"never-reported": now - timedelta(days=9), "device": now}
    running = Running({"cpu-int8": pointer(moved_at=utc_now())}, {})
    return Fleet([ROW], running, {}, enrolled, 3, now, 0.02, timedelta(days=1))


def test_runs_devices_and_releases(own_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARKER, str(tmp_path))
    own_store.put("candidates/a/retrained.json", b"{}")
    own_store.put("candidates/b/candidate.json", b"{}")
    now = datetime.now(UTC)
    with prefect_test_harness(server_startup_timeout=120):
        good(False)
        with pytest.raises(ValueError, match="of no use"):
            good(True)
        with get_client(sync_client=True) as client:
            for due in (now - timedelta(hours=1), now + timedelta(hours=1)):
                client.create_flow_run(good, state=Scheduled(scheduled_time=due))
        write_metrics(fleet(now), own_store)
    found = figures((tmp_path / FILE).read_text())
    assert (found["flow_runs", "good", "failed"], found["flow_runs", "good", "under way"]) == (1, 0)
    assert found["flow_runs", "good", "queued"] == 1  # what is not due yet waits for nobody
    assert abs(found["last_success_timestamp_seconds", "good"] - now.timestamp()) < 300
    assert ("last_success_timestamp_seconds", "inner") not in found  # its runs are those of others
    assert (found["reports_quarantined",], found["candidates_trained",], found["reports", ROW.status]) == (3, 1, 1)
    assert (found["devices_enrolled",], found["devices_silent",]) == (2, 1)
    assert found["disk_free_bytes",] > 0
    assert abs(found["last_release_timestamp_seconds",] - now.timestamp()) < 300
    assert [one.name for one in (tmp_path / FILE).parent.iterdir()] == ["modnet.prom"]


def test_a_server_that_is_away_is_a_warning(
    own_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MARKER, str(tmp_path))
    monkeypatch.setattr(metrics, "get_run_logger", lambda: logging.getLogger("run"))

    def refuse(**_: object) -> None:
        raise httpx.ConnectError("nobody\nthere")

    monkeypatch.setattr(metrics, "get_client", refuse)
    with caplog.at_level(logging.WARNING, "run"):
        write_metrics(fleet(datetime.now(UTC)), own_store)
    assert caplog.messages == [r"metrics cannot be written: ConnectError: nobody\nthere"]
    assert not (tmp_path / FILE).exists()


def test_answers_of_the_ingest(start_ingest: Callable[..., Any]) -> None:
    server = start_ingest()
    path = server.log.parent / "metrics" / "ingest.prom"
    wanted = {("ingest_answers_total", "stored"): 0.0, ("ingest_answers_total", "path"): 1.0}
    assert httpx.put(f"{server.url}/reports/x", content=b"", trust_env=False).status_code == 404
    deadline = time.monotonic() + 60
    while not path.exists() or not wanted.items() <= figures(path.read_text()).items():
        assert time.monotonic() < deadline
        time.sleep(0.2)
