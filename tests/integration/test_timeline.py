"""The timeline of a flow run with a subflow, as a real Prefect server has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.runtime import flow_run
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
    with prefect_test_harness(server_startup_timeout=120):
        ids = [outer(), outer()]
        with get_client(sync_client=True) as client:
            found = [
                client.read_artifacts(
                    artifact_filter=ArtifactFilter(
                        key=ArtifactFilterKey(any_=[KEY]), flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run_id)])
                    )
                )
                for run_id in ids
            ]
    (first,), (second,) = found  # one each, drawn anew
    rows = [[row["computation"], row["stage"], row["try"], row["how it ended"]] for row in json.loads(first.data)]
    again = "WorkerLostError: its node died; tried again"
    assert sorted(rows) == [
        ["a", "outer", "1", "done"],
        ["b", "inner", "1", again],
        ["b", "inner", "2", "done"],
        ["found", "inner", "", "found in the store"],
    ]
    assert len(json.loads(second.data)) == 3  # nothing of the run before, though it was in the same process
