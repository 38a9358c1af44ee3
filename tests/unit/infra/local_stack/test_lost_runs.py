from __future__ import annotations

import subprocess
from collections.abc import Collection
from typing import Any

from infra.local_stack.lost_runs import begun_runs, crash_runs, is_computed, skip_missed_runs
from infra.local_stack.prefect_api import PrefectApi


class _FakeApi(PrefectApi):
    """Runs as id -> state; `parent` has started `child` and `done`."""

    def __init__(self, states: dict[str, str]) -> None:
        super().__init__("http://nowhere", "secret")
        self.states = states

    def open_runs(self) -> list[dict[str, Any]]:
        pools = {"of-a-terminal": None, "elsewhere": "other"}
        return [
            {
                "id": run_id,
                "work_pool_name": pools.get(run_id, "modnet"),
                "state": {"type": state},
                "auto_scheduled": run_id != "of-the-ui",
                "expected_start_time": "2999-01-01T02:00:00Z" if run_id == "to come" else "2026-01-01T02:00:00Z",
            }
            for run_id, state in self.states.items()
        ]

    def state(self, run_id: str) -> dict[str, Any]:
        return {"type": self.states[run_id]}

    def subflow_runs(self, run_ids: Collection[str]) -> list[str]:
        return ["child", "done"] if "parent" in run_ids else []

    def end(self, run_id: str, state: str, message: str) -> None:
        self.states[run_id] = state


def test_begun_runs_leaves_out_what_waits_and_what_no_worker_has_started() -> None:
    states = dict.fromkeys(["first", "of-a-terminal", "elsewhere"], "RUNNING") | {"waits": "SCHEDULED"}
    found = begun_runs(_FakeApi({**states, "taken": "PENDING", "cancelled": "CANCELLING"}), "modnet")
    assert [run["id"] for run in found] == ["first", "taken", "cancelled"]


def test_crash_runs_ends_subflows_too_and_leaves_what_has_ended() -> None:
    api = _FakeApi({"parent": "RUNNING", "child": "RUNNING", "done": "COMPLETED", "next": "SCHEDULED"})
    crash_runs(api, ["parent"])
    assert api.states == {"parent": "CRASHED", "child": "CRASHED", "done": "COMPLETED", "next": "SCHEDULED"}


def test_skip_missed_runs_leaves_what_is_to_come_has_begun_or_somebody_asked_for() -> None:
    api = _FakeApi(dict.fromkeys(["last night", "to come", "of-the-ui"], "SCHEDULED") | {"under way": "RUNNING"})
    skip_missed_runs(api)
    assert api.states == {
        "last night": "CANCELLED",
        "to come": "SCHEDULED",
        "of-the-ui": "SCHEDULED",
        "under way": "RUNNING",
    }


def test_is_computed_wants_the_process_of_the_run_itself() -> None:
    """A process with the variable alone is what a killed flow has left behind."""
    environ = {"PREFECT__FLOW_RUN_ID": "run-of-this-test"}
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/cat"], env=environ, stdin=pipe, stdout=pipe, bufsize=0) as process:
        # Popen returns before the kernel shows the new program's environment; one that answers has it.
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"there?\n")
        assert process.stdout.readline() == b"there?\n"
        run = {"id": "run-of-this-test", "infrastructure_pid": str(process.pid)}
        try:
            assert is_computed(run)
            assert not is_computed({**run, "id": "another run"})
            assert not is_computed({**run, "infrastructure_pid": "1"})
            assert not is_computed({**run, "infrastructure_pid": None})
        finally:
            process.kill()
    assert not is_computed(run)
