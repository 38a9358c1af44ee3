"""A real stack in a temporary folder: SeaweedFS, Prefect server and worker, an edge agent, and a trivial flow."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.device.agent.ingest import Ingest
from infra.device.documents.checks import utc_now
from infra.device.documents.latency_report import LatencyReport
from infra.device.errors import SettingsError, StoreRefusesError
from infra.device.stores.object_store import ObjectStore, open_store
from infra.errors import StackError
from infra.local_stack.__main__ import main
from infra.local_stack.environments import MARKER, device_environ
from infra.local_stack.nightly import RunFollower, run_nightly
from infra.local_stack.processes import Process, end_processes, is_running, processes_with
from infra.local_stack.stack import Stack
from infra.local_stack.state import StackState
from infra.local_stack.under_way import under_way

ROOT = Path(__file__).parents[2]
FLOW = '''
import subprocess, sys, time
from prefect import flow, get_run_logger
from prefect.artifacts import create_link_artifact, create_table_artifact

@flow
def inner():
    get_run_logger().info("said by the inner flow")

@flow
def trivial(seconds: float = 0, reason: str = ""):
    """Does what it is told."""
    inner()
    create_table_artifact([{"network": "pruned", "mse": 0.1}], key="leaderboard")
    create_link_artifact("http://127.0.0.1/report.html", key="report")
    time.sleep(seconds)
    if reason:  # and, as Ray can, it leaves a process behind
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        raise ValueError(reason)
'''
WATCHED = '''
import time
from prefect import flow, task
from infra.device.stores.object_store import open_store
from infra.settings import Settings
from modnet.records import TrainingProgress
from tasks.stored import put_record
from tasks.training_progress import shown_training

@task(task_run_name="retrain a")
def train(seconds: int):
    """Trains nothing, and says how far it is, as a training does."""
    store = open_store(Settings.from_env().store_url)
    with shown_training("candidates/a", "retrain-a", "Retraining of a"):
        for step in range(seconds):
            told = TrainingProgress(step=step, steps=seconds, text="epoch 1 of 1")
            put_record(store, "candidates/a/progress.json", told)
            time.sleep(1)

@flow
def watched(seconds: int = 45):
    train(seconds)
'''
NESTED = '''
import subprocess, sys, time
from prefect import flow, task

@task
def train(seconds: float):
    """Trains nothing, and leaves a process behind when it is killed, as Ray can."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(seconds)

@flow
def retrain(seconds: float):
    train(seconds)

@flow
def nested(seconds: float = 0):
    retrain(seconds)
'''
# Waits for a report of a release as the flow benchmark does.
LISTENS = """
import sys, time
from prefect.logging import disable_run_logger
from tasks.benchmark import _told_of_reports
with disable_run_logger(), _told_of_reports(sys.argv[1]) as told:
    assert told.wait(60)
    told.clear()
    print("listens", flush=True)
    print("told" if told.wait(20) else "not told", flush=True)
"""
DEPLOYMENTS = """
name: trivial
deployments:
  - name: on-demand
    entrypoint: trivial.py:trivial
    work_pool: {name: modnet}
  - name: watched
    entrypoint: watched.py:watched
    work_pool: {name: modnet}
  - name: one-at-a-time
    entrypoint: trivial.py:trivial
    work_pool: {name: modnet}
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
  - name: computes
    entrypoint: nested.py:nested
    work_pool: {name: modnet, work_queue_name: computing}
  - name: computes-too
    entrypoint: trivial.py:trivial
    work_pool: {name: modnet, work_queue_name: computing}
  - name: yearly
    entrypoint: trivial.py:trivial
    work_pool: {name: modnet}
    schedules: [{cron: 0 2 1 1 *}]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is up, for all tests of this file; whatever they leave running is killed."""
    project = tmp_path_factory.mktemp("project")
    (project / "trivial.py").write_text(FLOW)
    (project / "watched.py").write_text(WATCHED)
    (project / "nested.py").write_text(NESTED)
    (project / "prefect.yaml").write_text(DEPLOYMENTS)
    stack = Stack(project / ".modnet", project, os.environ, targets=["cpu-fp32"])
    try:
        stack.up()
        yield stack
    finally:
        end_processes(processes_with(MARKER, str(stack.folder)), 0.0)


def test_up_starts_nothing_twice(stack: Stack) -> None:
    before = stack.status()
    assert all(before.values())
    stack.up()
    assert stack.status() == before


def test_store_gives_pipeline_and_device_their_rights(stack: Stack) -> None:
    for identity in (stack.pipeline_environ(), stack.device_environ()):
        with pytest.MonkeyPatch.context() as environment:
            for name, value in identity.items():
                environment.setenv(name, value)
            store = open_store("s3://modnet")
        if identity["AWS_ACCESS_KEY_ID"] == "pipeline":
            store.put("releases/one", b"model")
        else:
            assert store.get("releases/one") == b"model"
            with pytest.raises(SettingsError, match="AccessDenied"):
                store.put("releases/one", b"another model")


def _as(environ: Mapping[str, str], what: Callable[[str], Any], url: str) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in environ.items():
            environment.setenv(name, value)
        return what(url)


def test_a_new_device_reads_and_reports_without_a_restart_and_a_revoked_one_does_not(stack: Stack) -> None:
    """And whoever waits for its report is told of it by Prefect."""
    _as(stack.pipeline_environ(), open_store, "s3://modnet").put("releases/two", b"model")
    before = stack.status()
    with stack.changing_devices() as devices:
        kitchen = devices.add("kitchen")
    environ = device_environ(os.environ, stack.folder, StackState.read(stack.folder / "stack.json"), kitchen)
    store, ingest = _as(environ, open_store, "s3://modnet"), _as(environ, Ingest, stack.ingest_url)
    _wait_until(lambda: _reads(store))
    release_id = "0123456789ab"
    report = LatencyReport(
        release_id=release_id,
        target="cpu-fp32",
        device="kitchen",
        runtime="openvino 2026.4.1",
        status="failed",
        started_at=utc_now(),
        conditions={},
        reason="no such layer",
    )
    command = [sys.executable, "-c", LISTENS, release_id]
    listener = subprocess.Popen(command, env=stack.pipeline_environ(), cwd=ROOT, stdout=-1, text=True)
    assert listener.stdout is not None
    assert listener.stdout.readline() == "listens\n"
    ingest.put(report.key(), report.to_json())
    assert listener.communicate(timeout=60)[0] == "told\n"

    with stack.changing_devices() as devices:
        devices.revoke("kitchen")
    with pytest.raises(StoreRefusesError, match="403 revoked"):
        ingest.put(report.key(), report.to_json())
    _wait_until(lambda: not _reads(store))
    assert stack.status() == before


def _reads(store: ObjectStore) -> bool:
    try:
        return store.get("releases/two") == b"model"
    except StoreRefusesError:
        return False


def test_run_nightly_prints_log_results_and_end_of_its_own_run(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three runs at a time: each starts a Python process, which takes seconds."""
    failing = stack.api.start_run("trivial/on-demand", {"reason": "the matte is torn"})
    endless = stack.api.start_run("trivial/on-demand", {"seconds": 600})

    assert run_nightly(stack, "trivial/on-demand", {}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("said by the inner flow" in line for line in lines) == 1
    table = lines.index("network  mse")
    assert lines[table - 1 : table + 3] == ["", "network  mse", "pruned   0.1", ""]
    not_saved, address, end = lines[-3:]
    assert not_saved.startswith("report: not saved, the store says: ")  # nobody listens there
    assert address == f"release, runs and earlier reports: `make up`, then {stack.ui_url}"
    assert end == "trivial/on-demand: Completed"
    assert stack.is_up()

    end = RunFollower(stack.api, failing).follow(stack.check, limit_s=60)
    assert end["type"] == "FAILED"
    assert "the matte is torn" in end["message"]

    stack.api.cancel(endless)
    assert RunFollower(stack.api, endless).follow(stack.check, limit_s=60)["type"] == "CANCELLED"


@pytest.mark.slow
def test_up_sweeps_what_was_killed_with_its_server(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """All dies at once but the store, as in a power cut: nobody is left who could tell Prefect."""
    limited = stack.api.start_run("trivial/one-at-a-time", {"seconds": 600})
    lost = stack.api.start_run("nested/computes", {"seconds": 600})
    _wait_until(lambda: _open_tasks(stack, lost) == ["train", "retrain"] and stack.api.subflow_runs([limited]) != [])
    _wait_until(lambda: stack.api.was_heard(lost, datetime.now(UTC) - timedelta(hours=1)))  # it starts again then
    waits = stack.api.start_run("trivial/one-at-a-time", {})
    services = stack.status()
    engines = [stack.api.run(run)["infrastructure_pid"] for run in (lost, limited)]
    for pid in [*engines, *(one.pid for name, one in services.items() if one and name in ("prefect", "worker"))]:
        os.kill(int(pid), signal.SIGKILL)
    _wait_until(lambda: stack.status()["prefect"] is stack.status()["worker"] is None)  # dying takes a moment
    (left,) = processes_with("PREFECT__FLOW_RUN_ID", lost)

    stack.up()

    family = [lost, limited, *stack.api.subflow_runs([lost]), *stack.api.subflow_runs([limited])]
    assert [stack.api.state(run)["type"] for run in family] == ["CRASHED", "CRASHED", "CRASHED", "COMPLETED"]
    assert _open_tasks(stack, lost) == []
    name = stack.api.run(lost)["name"]
    swept = [line for line in capsys.readouterr().err.splitlines() if line.startswith("swept: ")]
    gone = f"Running, Crashed now: its process is gone from {platform.node()}"
    assert f"swept: flow run {name}: {gone}" in swept
    assert sum(f"Running, Crashed now: its flow run {name} is Crashed" in line for line in swept) == 2
    assert f"swept: processes {left.pid}: running, Ended now: left behind by flow run {name}, which is Crashed" in swept
    assert not is_running(left)
    tables = stack.api._call("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": ["sweep"]}}})
    assert name in tables[0]["data"]
    # The limited one holds no slot any more. The one that computes has started again, and is killed anew.
    assert RunFollower(stack.api, waits).follow(stack.check, limit_s=120)["type"] == "COMPLETED"
    (again,) = [run for run in stack.api.open_runs() if run["name"] == f"{name}-again"]
    _wait_until(lambda: _open_tasks(stack, again["id"]) == ["train", "retrain"])
    os.kill(int(stack.api.run(again["id"])["infrastructure_pid"]), signal.SIGKILL)
    # Its worker waits for what it has left behind, and a sweep does not.
    _wait_until(lambda: len(processes_with("PREFECT__FLOW_RUN_ID", again["id"])) == 1)
    stack.up()
    assert stack.api.state(again["id"])["type"] == "CRASHED"
    assert stack.api.begun_runs("computing") == []
    assert not any(run["name"].endswith("-again-again") for run in stack.api.open_runs())


def _open_tasks(stack: Stack, run: str) -> list[str]:
    """Names of the open task runs of a flow run and of what it has started, without their counters."""
    runs = [*stack.api.subflow_runs([run]), run]
    return [task["name"].rsplit("-", 1)[0] for one in runs for task in stack.api.open_task_runs(one)]


@pytest.mark.slow
def test_one_run_computes_at_a_time_and_others_do_not_wait(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    first = stack.api.start_run("nested/computes", {"seconds": 600})
    _wait_until(lambda: stack.api.state(first)["type"] == "RUNNING")
    second = stack.api.start_run("trivial/computes-too", {})
    assert run_nightly(stack, "trivial/on-demand", {}) == 0
    assert RunFollower(stack.api, second).follow(stack.check, limit_s=5)["type"] == "SCHEDULED"
    assert f"waits for {stack.api.run(first)['name']}, under way since " in capsys.readouterr().out
    stack.api.cancel(first)
    assert RunFollower(stack.api, second).follow(stack.check, limit_s=120)["type"] == "COMPLETED"


@pytest.mark.slow
def test_a_run_that_was_settled_and_lives_says_its_own_end(stack: Stack) -> None:
    run = stack.api.start_run("trivial/on-demand", {"seconds": 10})
    _wait_until(lambda: stack.api.subflow_runs([run]) != [])
    stack.api.end(run, "CRASHED", "it was not heard")
    _wait_until(lambda: stack.api.state(run)["type"] == "COMPLETED")


@pytest.mark.slow
def test_a_run_ends_well_when_the_server_is_away_at_its_training_s_end(stack: Stack) -> None:
    """For longer than Prefect's client asks by its own settings."""
    run = stack.api.start_run("watched/watched", {"seconds": 20})

    def shown() -> list[str]:
        return under_way(stack.api.under_way([run]), stack.api.progress([run]))

    _wait_until(lambda: any("%: epoch 1 of 1, " in line for line in shown()))
    (line,) = shown()
    assert line.startswith("retrain a [")
    server = stack.status()["prefect"]
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    time.sleep(90)

    stack.up()

    assert RunFollower(stack.api, run).follow(stack.check, limit_s=240)["type"] == "COMPLETED"
    _wait_until(lambda: _open_tasks(stack, run) == [])
    said = [line["message"] for line in stack.api.logs([run], datetime.now(UTC) - timedelta(hours=1))]
    assert sum("progress of candidates/a cannot be shown, the work goes on" in line for line in said) <= 1


def test_a_schedule_has_runs_to_come(stack: Stack) -> None:
    """Prefect's scheduler may fail for good and be heard in the server's log alone."""
    of_schedule = {"flow_runs": {"tags": {"all_": ["auto-scheduled"]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    _wait_until(lambda: stack.api._call("POST", "/flow_runs/count", of_schedule) > 0)


def test_start_run_says_what_prefect_refuses(stack: Stack) -> None:
    with pytest.raises(StackError, match="'soon' is not of type 'number'"):
        stack.api.start_run("trivial/on-demand", {"seconds": "soon"})
    with pytest.raises(StackError, match="no/such"):
        stack.api.start_run("no/such", {})


def test_down_leaves_no_process_and_keeps_the_data(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--folder", str(stack.folder), "--project", str(stack.folder.parent), "--target", "cpu-fp32"]
    before_it = signal.getsignal(signal.SIGTERM)
    assert main([*place, "status"]) == 0
    assert stack.ui_url in capsys.readouterr().out
    left_behind = subprocess.Popen(["sleep", "600"], env={**os.environ, MARKER: str(stack.folder)})
    assert len(running(stack)) > 5  # the five services, and what a flow left behind that was none of them
    assert main([*place, "down"]) == 0
    assert running(stack) == []
    left_behind.wait(timeout=60)
    assert main([*place, "status"]) == 1
    assert list((stack.folder / "seaweedfs").iterdir())
    signal.signal(signal.SIGTERM, before_it)


@pytest.mark.slow
def test_a_renamed_project_runs(tmp_path: Path) -> None:
    """Its services still run when it is renamed, and Prefect knows the flow by its former folder."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    (before / "trivial.py").write_text(FLOW)
    (before / "watched.py").write_text(WATCHED)
    (before / "nested.py").write_text(NESTED)
    (before / "prefect.yaml").write_text(DEPLOYMENTS)
    stack = Stack(before / ".modnet", before, os.environ, targets=())
    moved = Stack(after / ".modnet", after, os.environ, targets=())
    try:
        stack.up()
        before.rename(after)
        assert run_nightly(moved, "trivial/on-demand", {}) == 0
        assert running(stack) == running(moved) == []
    finally:
        end_processes(running(stack) + running(moved), 0.0)


@pytest.mark.parametrize("content", ["", "[1]", "{"], ids=["empty", "list", "cut"])
def test_nightly_refuses_parameters_that_are_no_json_object(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "parameters.json").write_text(content)
    arguments = ["--folder", str(tmp_path / "stack"), "nightly", "--parameters-file", str(tmp_path / "parameters.json")]
    before_it = signal.getsignal(signal.SIGTERM)
    assert main(arguments) == 3
    assert "wanted a JSON object" in capsys.readouterr().err
    assert not (tmp_path / "stack").exists()
    signal.signal(signal.SIGTERM, before_it)


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def running(stack: Stack) -> list[Process]:
    return processes_with(MARKER, str(stack.folder))
