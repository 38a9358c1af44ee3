"""Against a small HTTP server with Prefect's paths; the real server is met in the integration tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas import actions, filters, sorting
from prefect.events.filters import EventFilter
from prefect.server.events.filters import AutomationFilter
from prefect.server.events.schemas.automations import AutomationCreate
from pydantic import BaseModel

from infra.errors import StackError
from infra.local_stack import prefect_api
from infra.local_stack.automations import collect_after_reports, decide_after_reports
from infra.local_stack.prefect_api import PrefectApi

Answers = dict[str, Callable[[Any], tuple[int, Any]]]


@pytest.fixture
def answers() -> Answers:
    """By method and path: from the request's JSON to status and JSON (or bytes) of the answer."""
    return {}


@pytest.fixture
def api(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectApi]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            assert self.headers["Authorization"] == "Basic c2VjcmV0"  # `secret`, as Prefect reads it
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = answers[f"{self.command} {self.path}"](json.loads(sent) if sent else None)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # loopback must not go through a proxy
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield PrefectApi(f"http://127.0.0.1:{server.server_port}/api", "secret")
        server.shutdown()


def test_start_run_passes_the_parameters_to_the_deployment(api: PrefectApi, answers: Answers) -> None:
    sent = []
    answers["GET /api/deployments/name/compress/on-demand"] = lambda _: (200, {"id": "d1"})
    answers["POST /api/deployments/d1/create_flow_run"] = lambda body: (sent.append(body), (201, {"id": "r1"}))[1]
    assert api.start_run("compress/on-demand", {"config": {"seed": 1}}) == "r1"
    assert [one["parameters"] for one in sent] == [{"config": {"seed": 1}}]


def test_under_way_leaves_out_what_stands_for_a_flow_run(api: PrefectApi, answers: Answers) -> None:
    asked = []
    answers["POST /api/task_runs/filter"] = lambda body: (asked.append(body), (200, [{"id": "a"}, {"id": "flow"}]))[1]
    answers["POST /api/flow_runs/filter"] = lambda _: (200, [{"id": "r2", "parent_task_run_id": "flow"}])
    answers["POST /api/artifacts/filter"] = lambda body: (asked.append(body), (200, [{"task_run_id": "a"}]))[1]
    assert api.under_way(["r1"]) == [{"id": "a"}]
    assert api.progress(["r1"]) == [{"task_run_id": "a"}]
    tasks, artifacts = asked
    assert tasks["task_runs"] == {"flow_run_id": {"any_": ["r1"]}, "state": {"type": {"any_": ["RUNNING"]}}}
    assert artifacts["artifacts"] == {"flow_run_id": {"any_": ["r1"]}, "type": {"any_": ["progress"]}}


def test_start_run_asks_a_busy_server_again_for_the_same_run(
    api: PrefectApi, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_api, "_RETRY_AFTER_S", 0.0)
    sent, statuses = [], iter([503, 503, 201])
    answers["GET /api/deployments/name/compress/on-demand"] = lambda _: (200, {"id": "d1"})
    answers["POST /api/deployments/d1/create_flow_run"] = lambda body: (
        sent.append(body),
        (next(statuses), {"id": "r1"}),
    )[1]
    assert api.start_run("compress/on-demand", {}) == "r1"
    assert len({one["idempotency_key"] for one in sent}) == 1
    assert len(sent) == 3


def test_start_run_asks_a_silent_server_again_for_the_same_run(
    api: PrefectApi, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_api, "_RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(prefect_api, "_TIMEOUT_S", 1.0)
    sent: list[dict[str, Any]] = []

    def silent_once(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        sent.append(body)
        if len(sent) == 1:
            time.sleep(2.0)
        return 201, {"id": "r1"}

    answers["GET /api/deployments/name/compress/on-demand"] = lambda _: (200, {"id": "d1"})
    answers["POST /api/deployments/d1/create_flow_run"] = silent_once
    assert api.start_run("compress/on-demand", {}) == "r1"
    assert len({one["idempotency_key"] for one in sent}) == 1
    assert len(sent) == 2
    sent.clear()
    with pytest.raises(StackError, match="does not answer"):
        api._call("POST", "/deployments/d1/create_flow_run", {}, patience_s=0.0)


def test_state_refuses_when_the_server_stays_busy(api: PrefectApi, answers: Answers) -> None:
    answers["GET /api/flow_runs/r1"] = lambda _: (503, {"detail": "database is locked"})
    with pytest.raises(StackError, match=r"Prefect refuses \(503\).*database is locked"):
        api._call("GET", "/flow_runs/r1", patience_s=0.0)


def test_start_run_says_what_prefect_refuses(api: PrefectApi, answers: Answers) -> None:
    answers["GET /api/deployments/name/no/such"] = lambda _: (404, {"detail": "Deployment not found"})
    with pytest.raises(StackError, match=r"deployments/name/no/such: Prefect refuses \(404\).*Deployment not found"):
        api.start_run("no/such", {})


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"state": {'], ids=["empty", "html", "cut"])
def test_state_refuses_an_answer_that_is_not_json(content: bytes, api: PrefectApi, answers: Answers) -> None:
    answers["GET /api/flow_runs/r1"] = lambda _: (200, content)
    with pytest.raises(StackError, match="does not answer"):
        api.state("r1")


def test_is_healthy_is_false_when_nobody_listens() -> None:
    assert not PrefectApi("http://127.0.0.1:1/api", "secret").is_healthy()


def test_is_healthy_is_what_the_server_says(api: PrefectApi, answers: Answers) -> None:
    answers["GET /api/health"] = lambda _: (200, True)
    assert api.is_healthy()
    answers["GET /api/health"] = lambda _: (503, {"detail": "starting"})
    assert not api.is_healthy()


def test_logs_gives_every_page(api: PrefectApi, answers: Answers) -> None:
    lines = [{"id": str(number)} for number in range(450)]
    answers["POST /api/logs/filter"] = lambda body: (200, lines[body["offset"] : body["offset"] + body["limit"]])
    assert list(api.logs(["r1"], datetime.now(UTC))) == lines


def test_task_runs_gives_every_page(api: PrefectApi, answers: Answers) -> None:
    found = [{"id": str(number)} for number in range(250)]

    def page(body: Any) -> tuple[int, Any]:
        assert body["task_runs"] == {"flow_run_id": {"any_": ["r1", "r2"]}}
        return 200, found[body["offset"] : body["offset"] + body["limit"]]

    answers["POST /api/task_runs/filter"] = page
    assert list(api.task_runs(["r1", "r2"])) == found


def test_latest_run_is_the_completed_run_that_ended_last(api: PrefectApi, answers: Answers) -> None:
    sent = []
    answers["POST /api/flow_runs/filter"] = lambda body: (sent.append(body), (200, [{"id": "r2"}]))[1]
    assert api.latest_run("compress") == "r2"
    assert sent == [
        {
            "flows": {"name": {"any_": ["compress"]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
            "sort": "END_TIME_DESC",
            "limit": 1,
        }
    ]


def test_latest_run_is_none_when_none_completed(api: PrefectApi, answers: Answers) -> None:
    answers["POST /api/flow_runs/filter"] = lambda _: (200, [])
    assert api.latest_run("compress") is None


def test_artifacts_leaves_out_results_and_sorts_by_age(api: PrefectApi, answers: Answers) -> None:
    found = [
        {"key": "new", "created": "2026-01-02T00:00:00Z"},
        {"key": None, "created": "2026-01-01T12:00:00Z"},
        {"key": "old", "created": "2026-01-01T00:00:00Z"},
    ]
    answers["POST /api/artifacts/filter"] = lambda _: (200, found)
    assert [one["key"] for one in api.artifacts(["r1"])] == ["old", "new"]


def test_open_runs_asks_for_what_is_due_or_has_begun(api: PrefectApi, answers: Answers) -> None:
    sent: list[Any] = []
    answers["POST /api/flow_runs/filter"] = lambda body: (sent.append(body), (200, [{"id": "r1"}]))[1]
    before = datetime.now(UTC)
    assert api.open_runs() == [{"id": "r1"}]
    where = sent[0]["flow_runs"]
    assert where["state"] == {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]}}
    assert where["parent_task_run_id"] == {"is_null_": True}
    due = datetime.fromisoformat(where["expected_start_time"]["before_"]) - before
    assert 60 <= due.total_seconds() < 120  # not the schedule's runs of the next nights


def test_has_worker_wants_the_named_worker_online(api: PrefectApi, answers: Answers) -> None:
    workers = [{"name": "old", "status": "ONLINE"}, {"name": "new", "status": "OFFLINE"}]
    answers["POST /api/work_pools/pool/workers/filter"] = lambda _: (200, workers)
    assert api.has_worker("pool", "old")
    assert not api.has_worker("pool", "new")
    assert not api.has_worker("pool", "none")


def test_keep_automation_makes_one_changes_what_differs_and_removes_others(api: PrefectApi, answers: Answers) -> None:
    there: list[dict[str, Any]] = []
    sent: list[tuple[str, Any]] = []
    answers["POST /api/automations/filter"] = lambda _: (200, there)
    for method, path in (("POST", ""), ("PUT", "a1"), ("DELETE", "a2")):
        says = f"{method} /api/automations/{path}"
        answers[says] = lambda body, says=says: (sent.append((says, body)), (204, b""))[1]
    wanted = {"name": "n", "trigger": {"after": ["e"], "within": 20.0}, "actions": [{"type": "run-deployment"}]}
    api.keep_automation(wanted)
    assert sent == [("POST /api/automations/", wanted)]

    # As the server gives it back: with ids, defaults, and disabled by a person.
    kept = {"id": "a1", "enabled": False, "name": "n", "actions": [{"type": "run-deployment", "parameters": None}]}
    kept["trigger"] = {"id": "t1", "after": ["e"], "within": 20, "threshold": 1}
    there[:] = [kept]
    api.keep_automation(wanted)
    assert len(sent) == 1

    there.append({**kept, "id": "a2"})
    changed = {**wanted, "trigger": {"after": ["e"], "within": 30.0}}
    api.keep_automation(changed)
    assert sent[1:] == [
        ("DELETE /api/automations/a2", None),
        ("PUT /api/automations/a1", {**changed, "enabled": False}),
    ]
    there[:] = [{**kept, "actions": []}]
    api.keep_automation(wanted)
    assert len(sent) == 4


def test_keep_work_queue_leaves_one_as_somebody_has_set_it(api: PrefectApi, answers: Answers) -> None:
    there: list[dict[str, Any]] = [{"name": "default"}]
    made: list[Any] = []
    answers["POST /api/work_pools/modnet/queues/filter"] = lambda _: (200, there)
    answers["POST /api/work_pools/modnet/queues"] = lambda body: (made.append(body), (201, {}))[1]
    api.keep_work_queue("modnet", "computing", 1, "one at a time")
    assert made == [{"name": "computing", "concurrency_limit": 1, "description": "one at a time"}]
    there.append({"name": "computing", "concurrency_limit": 4})
    api.keep_work_queue("modnet", "computing", 1, "one at a time")
    assert len(made) == 1


def test_start_again_asks_the_same_under_a_key_that_starts_no_third_run(api: PrefectApi, answers: Answers) -> None:
    sent: list[Any] = []
    answers["POST /api/deployments/d1/create_flow_run"] = lambda body: (sent.append(body), (201, {"id": "r2"}))[1]
    answers["PATCH /api/flow_runs/r1"] = lambda body: (sent.append(body), (204, b""))[1]
    lost = {"id": "r1", "name": "night", "deployment_id": "d1", "parameters": {"config": {"seed": 1}}}
    assert api.start_again(lost, ["again"]) == "r2"
    asked = {"parameters": {"config": {"seed": 1}}, "tags": ["again"], "name": "night-again"}
    assert sent == [{**asked, "idempotency_key": "again r1"}, {"tags": ["again"]}]


def test_runs_with_open_parts_are_those_of_open_tasks_and_of_open_subflows(api: PrefectApi, answers: Answers) -> None:
    answers["POST /api/task_runs/filter"] = lambda _: (200, [{"flow_run_id": "r1"}, {"flow_run_id": None}])
    answers["POST /api/flow_runs/filter"] = lambda _: (200, [{"parent_task_run_id": "t2"}])
    answers["GET /api/task_runs/t2"] = lambda _: (200, {"flow_run_id": "r2"})
    assert api.runs_with_open_parts() == {"r1", "r2"}


def test_deployment_id_is_none_where_there_is_none(api: PrefectApi, answers: Answers) -> None:
    found: list[dict[str, Any]] = []
    answers["POST /api/deployments/filter"] = lambda _: (200, found)
    assert api.deployment_id("collect", "stage") is None
    found.append({"id": "d1"})
    assert api.deployment_id("collect", "stage") == "d1"


FILTERS: dict[str, type[BaseModel]] = {
    "flows": filters.FlowFilter,
    "deployments": filters.DeploymentFilter,
    "automations": AutomationFilter,
    "flow_runs": filters.FlowRunFilter,
    "task_runs": filters.TaskRunFilter,
    "artifacts": filters.ArtifactFilter,
    "filter": EventFilter,
    "work_queues": filters.WorkQueueFilter,
    "logs": filters.LogFilter,
}
SORTS = {
    "/flow_runs/filter": sorting.FlowRunSort,
    "/logs/filter": sorting.LogSort,
    "/artifacts/filter": sorting.ArtifactSort,
}
ACTIONS: dict[str, type[BaseModel]] = {
    "/create_flow_run": actions.DeploymentFlowRunCreate,
    "/work_pools/": actions.WorkPoolCreate,
    "/queues": actions.WorkQueueCreate,
    "/artifacts/": actions.ArtifactCreate,
    "/flow_runs/": actions.FlowRunUpdate,
    "/automations/": AutomationCreate,
}


class RecordingApi(PrefectApi):
    """A server where there is nothing of what is asked for."""

    def __init__(self) -> None:
        super().__init__("http://nowhere", "secret")
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, patience_s: float = 0.0) -> Any:
        self.asked.append((path, body or {}))
        if path == "/events/filter":
            return {"events": []}
        return [] if path.endswith("/filter") else {"id": str(uuid4())}


def test_prefect_knows_every_name_in_what_it_is_asked() -> None:
    """Another version may refuse a field, or leave a whole filter out: then runs of others would be found as ours."""
    api, run = RecordingApi(), str(uuid4())
    api.work_pools()
    api.make_work_pool("modnet")
    api.has_worker("modnet", "local")
    api.start_run("compress/on-demand", {"config": {}})
    api.latest_run("compress")
    api.cancel(run)
    api.end(run, "CRASHED", "lost")
    api.open_runs()
    api.subflow_runs([run])
    list(api.task_runs([run]))
    api.under_way([run])
    api.progress([run])
    list(api.logs([run], datetime.now(UTC)))
    api.artifacts([run])
    api.last_runs(20)
    api.timelines([run])
    api.deployment_id("collect", "stage")
    api.keep_automation(collect_after_reports(str(uuid4())))
    api.keep_automation(decide_after_reports(str(uuid4())))
    api.keep_work_queue("modnet", "computing", 1, "one at a time")
    api.start_again({"id": run, "name": "n", "deployment_id": str(uuid4()), "parameters": {}}, ["again"])
    api.end_task_run(run, "CRASHED", "lost")
    api.runs([run])
    api.crashed_runs(datetime.now(UTC))
    api.runs_with_open_parts()
    api.open_task_runs(run)
    api.begun_runs("computing")
    api.show_table("sweep", [{"what": "flow run n"}], "what a sweep has done")
    assert not api.was_heard(run, datetime.now(UTC))
    assert len(api.asked) == 36
    for path, body in api.asked:
        if path.endswith("/filter"):
            for name in body.keys() - {"sort", "limit", "offset"}:
                FILTERS[name].model_validate(body[name])  # refuses names that it does not know, as the others do
            if "sort" in body:
                assert SORTS[path](body["sort"])
        elif path.endswith("/set_state"):
            assert body.keys() <= {"state", "force"}
            actions.StateCreate.model_validate(body["state"])
        elif body:
            end = path.replace(run, "")
            next(schema for known, schema in ACTIONS.items() if end.endswith(known)).model_validate(body)
