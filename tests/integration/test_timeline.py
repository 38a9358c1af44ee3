"""The timeline of a flow run with a subflow, as a real Prefect server has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from infra.device.stores.folder_store import FolderStore
from infra.errors import WorkerLostError
from modnet.configs import ComputeConfig
from modnet.records import TrainingProgress
from tasks import on_ray
from tasks.on_ray import recalled_or_computed
from tasks.retries import RETRIES, is_transient
from tasks.stored import put_record
from tasks.timeline import KEY

ANSWER = TrainingProgress(step=1, steps=1, text="")


@task(retry_condition_fn=is_transient, **(RETRIES | {"retry_delay_seconds": 0, "retry_jitter_factor": None}))
def computed(name: str) -> TrainingProgress:
    key, compute = f"answers/{name}.json", ComputeConfig()
    return recalled_or_computed(key, TrainingProgress, lambda node: ANSWER, cpus=1, compute=compute, name=name)


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def timelines(run_id: str) -> list[Artifact]:
    of_run = ArtifactFilterFlowRunId(any_=[UUID(run_id)])
    with get_client(sync_client=True) as client:
        return client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[KEY]), flow_run_id=of_run)
        )


@flow
def inner() -> None:
    computed.map(["b", "found"]).result()


@flow
def outer() -> str:
    computed("a")
    inner()
    return str(flow_run.id)


def test_rows_of_subflows_stand_in_the_table_of_the_run(
    own_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"b": 1}

    def run(*_: Any, name: str, on_start: Callable[[str], None], **__: Any) -> TrainingProgress:
        on_start("node-1 (pid 7)")
        if lost.pop(name, 0):
            raise WorkerLostError("its node died")
        return ANSWER

    monkeypatch.setattr(on_ray, "run_on_ray", run)
    put_record(own_store, "answers/found.json", ANSWER)
    (first,), (second,) = map(timelines, [outer(), outer()])  # one each, drawn anew
    rows = [[row["computation"], row["stage"], row["try"], row["how it ended"]] for row in json.loads(first.data)]
    again = "WorkerLostError: its node died; tried again"
    assert sorted(rows) == [
        ["a", "outer", "1", "done"],
        ["b", "inner", "1", again],
        ["b", "inner", "2", "done"],
        ["found", "inner", "", "found in the store"],
    ]
    assert len(json.loads(second.data)) == 3  # nothing of the run before, though it was in the same process


KILLED = """
import time
from prefect.runtime import flow_run
from tasks import on_ray
from tests.integration.test_timeline import computed, flow

def run(*_, name, on_start, **__):
    on_start("node-1 (pid 7)")
    time.sleep(600)

@flow
def killed():
    print(flow_run.id, flush=True)
    computed("a")

on_ray.run_on_ray = run
killed()
"""


def test_a_killed_run_has_one(own_store: FolderStore) -> None:
    environ = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().decode().strip()
        deadline = time.monotonic() + 120
        while not timelines(run_id):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.kill()
    (row,) = json.loads(str(timelines(run_id)[0].data))
    assert (row["computation"], row["where"], row["how it ended"]) == ("a", "node-1 (pid 7)", "under way")
