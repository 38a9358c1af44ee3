from __future__ import annotations

import io
import json
import sys
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.errors import StackError
from infra.local_stack import nightly
from infra.local_stack.nightly import MAY_BE_CUT, RunFollower, run_nightly, summary, table_lines
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.services import SERVICES
from infra.local_stack.stack import Stack
from infra.local_stack.under_way import under_way

START = datetime.fromisoformat("2026-01-01T12:00:00+00:00")


class ScriptedApi(PrefectApi):
    """A run that takes one step a look: a state name, and log lines of the run or of its subflow."""

    def __init__(self, *steps: tuple[str, list[str]], silent: int = 0) -> None:
        super().__init__("http://nowhere", "secret")
        self.steps = steps
        self.looks = 0
        self.silent = silent
        self.open = ["run"]
        self.is_gone = False
        self.work_queue = "default"

    def run(self, run_id: str) -> dict[str, Any]:
        kind = self.steps[min(self.looks, len(self.steps)) - 1][0].upper()
        return {"id": run_id, "work_queue_name": self.work_queue, "tags": [], "state": {"type": kind}}

    def begun_runs(self, work_queue: str | None = None) -> list[dict[str, Any]]:
        return [{"name": "night-of-yesterday", "start_time": START.isoformat()}]

    def start_again(self, run: Any, tags: Any) -> str:
        return "again"

    def state(self, run_id: str) -> dict[str, Any]:
        if self.silent:
            self.silent -= 1
            raise StackError("no answer")
        self.looks += 1
        name = self.steps[min(self.looks, len(self.steps)) - 1][0]
        kind = "SCHEDULED" if name == "Late" else name.upper()
        return {"name": name, "type": kind, "message": "no room" if name == "Failed" else None}

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        return "run"

    def cancel(self, run_id: str) -> None:
        self.steps = (("Cancelled", []),)

    def open_runs(self) -> list[dict[str, Any]]:
        if self.is_gone:
            raise StackError("no answer")
        return [{"id": run_id, "tags": [MAY_BE_CUT] if run_id == "rollout" else []} for run_id in self.open]

    def artifacts(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        return []

    def under_way(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        started_at = (datetime.now(UTC) - timedelta(seconds=75)).isoformat()
        return [{"id": "task", "name": "retrain a", "start_time": started_at}]

    def progress(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        return [{"task_run_id": "task", "data": 25.0, "description": "Retraining: epoch 1 of 4, loss 0.3"}]

    def subflow_runs(self, run_ids: Collection[str]) -> list[str]:
        return ["child"]

    def logs(self, run_ids: Collection[str], since: datetime) -> Iterator[dict[str, Any]]:
        assert set(run_ids) in ({"run", "child"}, {"again", "child"})
        for number, (_, lines) in enumerate(self.steps[: self.looks]):
            written_at = START + timedelta(seconds=number)
            for line in lines:
                yield {"id": line, "timestamp": written_at.isoformat(), "level": 20, "message": line}


class FakeStack(Stack):
    """Services without processes; `check` raises what it is told to, so many times."""

    def __init__(
        self, api: ScriptedApi, *, up: Collection[str] = (), trouble: BaseException | None = None, times: int = 1
    ) -> None:
        super().__init__(Path("/nowhere"), Path("/nowhere"), {})
        self.fake_api = api
        self.before = set(up)
        self.runs = set(up)
        self.trouble = trouble
        self.times = times

    @property
    def api(self) -> PrefectApi:
        return self.fake_api

    def started(self) -> list[str]:
        return sorted(self.runs - self.before)

    def up(self) -> None:
        self.runs = set(SERVICES)

    def down(self, names: Collection[str] = SERVICES) -> None:
        self.runs -= set(names)

    def check(self) -> None:
        self.times -= 1
        if self.trouble is not None and self.times >= 0:
            raise self.trouble


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "_POLL_S", 0.0)


def nothing() -> None: ...


def test_follow_prints_every_line_and_state_once_also_the_late_ones(capsys: pytest.CaptureFixture[str]) -> None:
    api = ScriptedApi(("Running", ["one"]), ("Running", ["two"]), ("Completed", ["three"]), ("Completed", ["late"]))
    assert RunFollower(api, "run").follow(nothing)["type"] == "COMPLETED"
    words = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert words == ["Running", "one", "two", "Completed", "three", "late"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_follow_says_what_is_under_way_every_30_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ScriptedApi(("Running", ["one"]), ("Running", []), ("Completed", []))
    RunFollower(api, "run").follow(nothing)
    assert "under way" not in capsys.readouterr().out
    monkeypatch.setattr("infra.local_stack.under_way.LINES_EVERY_S", 0.0)
    api.looks = 0
    RunFollower(api, "run").follow(nothing)
    lines = [line[9:] for line in capsys.readouterr().out.splitlines() if "under way" in line]
    retraining = "retrain a [#####---------------] 25 %: epoch 1 of 4, loss 0.3, 1:15 so far, 3:45 left"
    assert lines == [f"under way: {retraining}"] * 2


def test_follow_draws_what_is_under_way_below_the_log_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr("infra.local_stack.under_way._REDRAW_EVERY_S", 0.0)
    monkeypatch.setenv("COLUMNS", "60")
    RunFollower(ScriptedApi(("Running", ["one"]), ("Running", ["two"]), ("Completed", [])), "run").follow(nothing)
    clear = "\x1b[1F\x1b[J"
    bar = "retrain a [#####---------------] 25 %: epoch 1 of 4, loss 0\n"
    written = terminal.getvalue()
    assert written.count(bar) == written.count(clear) >= 2  # at the end nothing of it is left
    assert [line.split()[-1] for line in written.replace(clear, "").replace(bar, "").splitlines()] == [
        *("Running", "one", "two", "Completed"),
    ]


def test_under_way_knows_no_time_left_before_something_is_done() -> None:
    runs = [
        {"id": "2", "name": "export b", "start_time": "2026-01-01T12:01:00+00:00"},
        {"id": "1", "name": "retrain a", "start_time": "2026-01-01T12:00:00+00:00"},
        {"id": "3", "name": "waits", "start_time": None},
    ]
    progress = [{"task_run_id": "1", "data": 0.0, "description": None}]
    assert under_way(runs, progress, START + timedelta(seconds=3675)) == [
        "retrain a [--------------------] 0 %: 1:01:15 so far",
        "export b: 1:00:15 so far",
    ]


def test_follow_raises_when_a_service_has_ended() -> None:
    def check() -> None:
        raise StackError("worker: ended by itself")

    with pytest.raises(StackError, match="worker"):
        RunFollower(ScriptedApi(("Running", [])), "run").follow(check)


def test_follow_waits_when_prefect_answers_late() -> None:
    api = ScriptedApi(("Completed", []), silent=5)
    assert RunFollower(api, "run").follow(nothing)["type"] == "COMPLETED"


def test_follow_raises_when_prefect_answers_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "_SILENT_S", 0.05)
    with pytest.raises(StackError, match="no answer"):
        RunFollower(ScriptedApi(("Running", []), silent=10**9), "run").follow(nothing)


def test_follow_gives_the_last_state_when_the_time_is_up() -> None:
    assert RunFollower(ScriptedApi(("Running", [])), "run").follow(nothing, limit_s=0.0)["type"] == "RUNNING"


def test_summary_gives_the_tables_as_wide_as_a_terminal_the_verdicts_and_what_was_gained() -> None:
    rows = [{"network": "a", "ms": "1.0", "id": "f00", "verdict": "winner"}, {"network": "bcd", "id": "f01"}]
    artifacts = [
        {"key": "gained", "type": "markdown", "data": "a is 2 times as fast."},
        {"key": "report", "type": "markdown", "data": "[Report](http://store/report.html)"},
        {"key": "devices", "type": "table", "data": json.dumps([{"device": "d"}])},
        {"key": "leaderboard", "type": "table", "data": json.dumps(rows)},
        {"key": "another", "type": "table", "data": "[]"},
    ]
    tables = ["", "network  ms", "a        1.0", "bcd", "a: winner", "", "device", "d", ""]
    assert summary(artifacts) == [*tables, "a is 2 times as fast.", ""]


def test_summary_gives_a_markdown_leaderboard_as_it_is() -> None:
    assert summary([{"key": "leaderboard", "type": "markdown", "data": "| a |"}]) == ["", "| a |", ""]


def test_table_lines_is_empty_when_there_are_no_rows() -> None:
    assert table_lines([]) == [""]


@pytest.mark.parametrize("before", [(), ("store", "prefect"), SERVICES], ids=["nothing", "half", "all"])
@pytest.mark.parametrize(
    ("state", "exit_code", "last"),
    [("Completed", 0, "f/d: Completed"), ("Failed", 1, "f/d: Failed: no room"), ("Crashed", 1, "f/d: Crashed")],
)
def test_run_nightly_ends_with_the_reason_and_leaves_the_stack_as_it_was(
    state: str, exit_code: int, last: str, before: Collection[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stack = FakeStack(ScriptedApi((state, [])), up=before)
    assert run_nightly(stack, "f/d", {}) == exit_code
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert stack.runs == set(before)


def test_run_nightly_leaves_the_services_up_and_says_so_while_others_have_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    api = ScriptedApi(("Completed", []))
    api.open = ["run", "of another terminal", "of the schedule", "rollout"]
    stack = FakeStack(api)
    assert run_nightly(stack, "f/d", {}) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "services stay up: other flow runs are pending or running (2); `make down` ends them"
    assert stack.runs == set(SERVICES)


def test_a_run_that_may_be_cut_keeps_no_services_up(capsys: pytest.CaptureFixture[str]) -> None:
    api = ScriptedApi(("Completed", []))
    api.open = ["run", "rollout"]
    stack = FakeStack(api)
    assert run_nightly(stack, "f/d", {}) == 0
    assert "services stay up" not in capsys.readouterr().out
    assert stack.runs == set()


def test_run_nightly_cancels_its_run_and_ends_the_services_when_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    stack = FakeStack(ScriptedApi(("Running", [])), trouble=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_nightly(stack, "f/d", {})
    assert capsys.readouterr().out.split()[-1] == "Cancelled"
    assert not stack.runs


def test_run_nightly_starts_again_what_ended_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    stack = FakeStack(ScriptedApi(("Running", []), ("Completed", [])), trouble=StackError("prefect: ended by itself"))
    assert run_nightly(stack, "f/d", {}) == 0
    said = capsys.readouterr().out
    assert "prefect: ended by itself\nstarting again what has ended\n" in said
    assert not stack.runs


def test_run_nightly_tries_again_when_nothing_can_be_started_just_now(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "_MEND_AGAIN_S", 0.0)
    stack = FakeStack(ScriptedApi(("Running", []), ("Running", []), ("Completed", [])), up=SERVICES)
    up = iter([None, StackError("another command is starting this stack"), None])

    def start() -> None:
        if stack.trouble is None:
            stack.trouble, stack.times = StackError("prefect: ended by itself"), 2
        if (error := next(up)) is not None:
            raise error

    monkeypatch.setattr(stack, "up", start)
    assert run_nightly(stack, "f/d", {}) == 0
    assert "another command is starting this stack\n" in capsys.readouterr().out
    assert next(up, "none is left") == "none is left"


def test_run_nightly_ends_the_services_when_one_ends_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    api = ScriptedApi(("Running", []))
    api.is_gone = True
    stack = FakeStack(api, trouble=StackError("prefect: ended by itself"), times=6)
    with pytest.raises(StackError, match="prefect: ended by itself"):
        run_nightly(stack, "f/d", {})
    assert capsys.readouterr().out.count("starting again") == 5
    assert not stack.runs


def test_run_nightly_follows_the_run_that_takes_over_from_a_lost_one(capsys: pytest.CaptureFixture[str]) -> None:
    api = ScriptedApi(("Crashed", []), ("Crashed", []), ("Running", []), ("Completed", []))
    api.work_queue, api.open = "computing", ["again"]
    assert run_nightly(FakeStack(api), "f/d", {}) == 0
    said = capsys.readouterr().out
    assert "run is Crashed, and starts again: http://127.0.0.1:0/runs/flow-run/again" in said
    assert said.splitlines()[-1] == "f/d: Completed"


def test_follow_says_once_what_a_run_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    api = ScriptedApi(("Scheduled", []), ("Late", []), ("Scheduled", []), ("Running", []), ("Completed", []))
    RunFollower(api, "run").follow(nothing)
    assert "waits" not in capsys.readouterr().out  # other queues hold nobody up
    api.looks, api.work_queue = 0, "computing"
    RunFollower(api, "run").follow(nothing)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "waits" in line]
    assert line[9:].startswith("waits for night-of-yesterday, under way since ")
