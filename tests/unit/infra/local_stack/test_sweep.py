"""What is settled by which evidence; a real server and real processes are met in the integration tests."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local_stack import sweep as module
from infra.local_stack.environments import MARKER
from infra.local_stack.prefect_api import BEGUN, ENDED, PrefectApi
from infra.local_stack.processes import Process, is_running
from infra.local_stack.services import COMPUTING, WORKER
from infra.local_stack.sweep import cancel_runs, is_computed, settle_begun, skip_missed_runs, sweep

LONG_AGO = timedelta(hours=1)


class _FakeApi(PrefectApi):
    """Flow runs by id, and whose heartbeat comes; `parent` has started `child` and the task run `task`."""

    def __init__(self, states: dict[str, str], *, beats: Collection[str] = ()) -> None:
        super().__init__("http://nowhere", "secret")
        self.found = {run_id: self._run(run_id, state) for run_id, state in states.items()}
        self.tasks = {"task": "RUNNING"} if "parent" in states else {}
        self.beats = beats
        self.again: list[str] = []

    @property
    def states(self) -> dict[str, str]:
        return {run_id: run["state"]["type"] for run_id, run in self.found.items()}

    def _run(self, run_id: str, state: str, age: timedelta = LONG_AGO) -> dict[str, Any]:
        return {
            "id": run_id,
            "name": f"run-{run_id}",
            "infrastructure_pid": "1" if run_id != "by-hand" else None,
            "labels": {"prefect.worker.name": "elsewhere" if "far" in run_id else f"{WORKER}1"},
            "work_queue_name": COMPUTING if "night" in run_id else "default",
            "tags": ["again"] if "again" in run_id else [],
            "state": {"type": state, "name": state.capitalize(), "timestamp": (datetime.now(UTC) - age).isoformat()},
            "auto_scheduled": run_id != "of-the-ui",
            "expected_start_time": "2999-01-01T02:00:00Z" if run_id == "to come" else "2026-01-01T02:00:00Z",
        }

    def open_runs(self) -> list[dict[str, Any]]:
        return [run for run in self.found.values() if run["state"]["type"] not in ENDED and run["id"] != "child"]

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.found[run_id])

    def state(self, run_id: str) -> dict[str, Any]:
        return dict(self.found[run_id]["state"])

    def runs(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        return [run for run_id, run in self.found.items() if run_id in run_ids]

    def crashed_runs(self, since: datetime) -> list[dict[str, Any]]:
        return [run for run in self.found.values() if run["state"]["type"] == "CRASHED" and run["id"] != "child"]

    def subflow_runs(self, run_ids: Collection[str]) -> list[str]:
        return ["child"] if "parent" in run_ids else []

    def open_task_runs(self, run_id: str) -> list[dict[str, Any]]:
        open_ids = [one for one, state in self.tasks.items() if state in BEGUN and run_id == "parent"]
        return [{"id": one, "name": one, "state": None, "state_name": "Running"} for one in open_ids]

    def runs_with_open_parts(self) -> set[str]:
        return {"parent"} if self.open_task_runs("parent") or self.states.get("child") in BEGUN else set()

    def was_heard(self, run_id: str, since: datetime) -> bool:
        return run_id in self.beats

    def end(self, run_id: str, state: str, message: str) -> None:
        self.found[run_id] = self._run(run_id, state, timedelta())

    def end_task_run(self, task_run_id: str, state: str, message: str) -> None:
        self.tasks[task_run_id] = state

    def start_again(self, run: Any, tags: Any) -> str:
        self.again.append(run["id"])
        self.found[run["id"]]["tags"] = tags
        return f"{run['id']}-again"


def test_a_run_of_this_machine_is_settled_with_all_below_it_once_its_process_is_gone() -> None:
    api = _FakeApi({"parent": "RUNNING", "child": "RUNNING", "next": "SCHEDULED", "cancelled": "CANCELLING"})
    rows = sweep(api, None, 0.0)
    assert api.states == {"parent": "CRASHED", "child": "CRASHED", "next": "SCHEDULED", "cancelled": "CANCELLED"}
    assert api.tasks == {"task": "CRASHED"}
    gone, below = f"its process is gone from {module.platform.node()}", "its flow run run-parent is Crashed"
    assert rows == [
        {"what": "flow run run-parent", "was": "Running", "is": "Crashed", "because": gone},
        {"what": "task run task", "was": "Running", "is": "Crashed", "because": below},
        {"what": "flow run run-child", "was": "Running", "is": "Crashed", "because": below},
        {"what": "flow run run-cancelled", "was": "Cancelling", "is": "Cancelled", "because": gone},
    ]
    assert sweep(api, None, 0.0) == []


def test_the_run_that_sweeps_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at all processes but its own."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "sweep")
    api = _FakeApi({"sweep": "RUNNING", "gone": "RUNNING"})
    sweep(api, None, 0.0)
    assert api.states == {"sweep": "RUNNING", "gone": "CRASHED"}


def test_a_run_that_a_worker_has_just_taken_has_no_process_yet() -> None:
    api = _FakeApi({"taken": "PENDING", "stuck": "PENDING"})
    api.found["taken"] = api._run("taken", "PENDING", timedelta(seconds=5))
    sweep(api, None, 0.0)
    assert api.states == {"taken": "PENDING", "stuck": "CRASHED"}


def test_a_run_of_another_machine_is_settled_when_it_stays_silent_while_one_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = _FakeApi(dict.fromkeys(["far", "far-cut-off", "far-heard"], "RUNNING"), beats=["far-heard"])
    assert sweep(api, None, 0.0) == []

    def sleep(_: float) -> None:
        api.beats = ["far-heard", "far-cut-off"]  # its server is back

    monkeypatch.setattr(module.time, "sleep", sleep)
    (row,) = sweep(api, None, 0.01)
    assert row["because"].startswith("it was not heard for 30 minutes")
    assert api.states == {"far": "CRASHED", "far-cut-off": "RUNNING", "far-heard": "RUNNING"}


@pytest.mark.parametrize(("parent", "expected"), [("COMPLETED", "COMPLETED"), ("FAILED", "FAILED")])
def test_what_is_open_below_a_run_that_ended_a_while_ago_takes_its_end(parent: str, expected: str) -> None:
    api = _FakeApi({"parent": parent, "child": "RUNNING"})
    api.found["parent"] = api._run("parent", parent, timedelta(seconds=5))
    assert sweep(api, None, 0.0) == []  # its last words may be on their way
    api.found["parent"] = api._run("parent", parent)
    assert len(sweep(api, None, 0.0)) == 2
    assert (api.tasks, api.states["child"]) == ({"task": expected}, expected)


def test_what_is_open_below_a_run_that_its_worker_has_just_called_crashed_is_settled_at_once() -> None:
    api = _FakeApi({"parent": "CRASHED", "child": "RUNNING"})
    api.found["parent"] = api._run("parent", "CRASHED", timedelta(seconds=5))
    assert [row["what"] for row in sweep(api, None, 0.0)] == ["task run task", "flow run run-child"]


def test_below_a_run_that_was_settled_and_lives_nothing_is_settled(process: Process) -> None:
    api = _FakeApi({"parent": "CRASHED", "child": "RUNNING"})
    carriers = {"parent": [process]}
    api.found["parent"]["infrastructure_pid"] = str(process.pid)
    assert not module._is_over(api.run("parent"), carriers)
    assert module._is_over(api.run("parent"), {})


def test_a_computing_run_starts_again_once_where_it_was_lost_of_late() -> None:
    runs = ["night", "night-of-last-week", "night-again", "stage"]
    api = _FakeApi(dict.fromkeys(runs, "CRASHED"), beats=["night", "night-again", "stage"])
    (row,) = sweep(api, None, 0.0)
    assert (row["is"], row["because"]) == ("Again", "flow run night-again")
    assert sweep(api, None, 0.0) == []
    assert api.again == ["night"]


def test_a_run_that_is_killed_before_its_first_heartbeat_starts_again() -> None:
    api = _FakeApi({"night": "CRASHED", "night-of-last-week": "CRASHED"})
    api.found["night"]["expected_start_time"] = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    sweep(api, None, 0.0)
    assert api.again == ["night"]


def test_skip_missed_runs_leaves_what_is_to_come_has_begun_or_somebody_asked_for() -> None:
    api = _FakeApi(dict.fromkeys(["last night", "to come", "of-the-ui"], "SCHEDULED") | {"under way": "RUNNING"})
    skip_missed_runs(api)
    assert api.states == {
        "last night": "CANCELLED",
        "to come": "SCHEDULED",
        "of-the-ui": "SCHEDULED",
        "under way": "RUNNING",
    }


@pytest.fixture
def process() -> Iterator[Process]:
    """One that carries the id of the run `night` and the mark of the stack in /a-stack."""
    environ, pipe = {"PREFECT__FLOW_RUN_ID": "night", MARKER: "/a-stack"}, subprocess.PIPE
    with subprocess.Popen(["/bin/cat"], env=environ, stdin=pipe, stdout=pipe, bufsize=0) as started:
        # Popen returns before the kernel shows the new program's environment; one that answers has it.
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(b"there?\n")
        assert started.stdout.readline() == b"there?\n"
        (found,) = module._carriers()["night"]
        assert found.pid == started.pid
        yield found
        started.kill()


def test_is_computed_wants_the_process_of_the_run_itself(process: Process) -> None:
    """A process with the variable alone is what a killed flow has left behind."""
    run, carriers = {"id": "night", "infrastructure_pid": str(process.pid)}, {"night": [process]}
    assert is_computed(run, carriers)
    assert is_computed({**run, "infrastructure_pid": None}, carriers)  # the worker has not said it yet
    assert not is_computed({**run, "id": "another run"}, carriers)
    assert not is_computed({**run, "infrastructure_pid": "1"}, carriers)
    assert not is_computed({**run, "infrastructure_pid": None}, {})


@pytest.mark.parametrize(
    ("folder", "state", "is_own", "is_ended"),
    [
        ("/a-stack", "CRASHED", False, True),
        ("/another-stack", "CRASHED", False, False),
        (None, "CRASHED", False, False),
        ("/a-stack", "CRASHED", True, False),  # settled, and it lives
        ("/a-stack", "PAUSED", False, False),
    ],
)
def test_only_what_a_run_of_this_stack_has_left_behind_is_ended(
    folder: str | None, state: str, is_own: bool, is_ended: bool, process: Process
) -> None:
    api = _FakeApi({"night": state})
    api.found["night"]["infrastructure_pid"] = str(process.pid) if is_own else "1"
    rows = sweep(api, folder, 0.0)
    assert is_running(process) != is_ended
    assert [row["what"] for row in rows] == ([f"processes {process.pid}"] if is_ended else [])


def test_settle_begun_takes_all_that_has_begun() -> None:
    api = _FakeApi({"parent": "RUNNING", "child": "RUNNING", "far": "PENDING", "done": "COMPLETED", "due": "SCHEDULED"})
    rows = settle_begun(api, "the worker has started anew")
    assert api.states == {
        "parent": "CRASHED",
        "child": "CRASHED",
        "far": "CRASHED",
        "done": "COMPLETED",
        "due": "SCHEDULED",
    }
    assert rows[0]["because"] == "the worker has started anew"


def test_cancel_runs_takes_what_computes_here(process: Process) -> None:
    api = _FakeApi({"night": "RUNNING", "far": "RUNNING"})
    api.found["night"]["infrastructure_pid"] = str(process.pid)
    cancel_runs(api, "the services were stopped")
    assert api.states == {"night": "CANCELLED", "far": "RUNNING"}
