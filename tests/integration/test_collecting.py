"""Reports collected for real: from SeaweedFS, and soon after they came by Prefect, which the ingest tells of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.device.agent.ingest import Ingest
from infra.device.documents.checks import utc_now
from infra.device.documents.latency_report import LatencyReport
from infra.device.stores.object_store import open_store
from infra.device.stores.s3_store import S3Store
from infra.fleet import collecting
from infra.fleet.collecting import collect
from infra.fleet.rows import KEY, collected
from infra.local_stack.automations import COLLECTED_AFTER_S, collect_after_reports
from infra.local_stack.environments import MARKER, device_environ
from infra.local_stack.processes import end_processes, processes_with
from infra.local_stack.stack import Stack
from infra.local_stack.state import StackState

PROJECT = "from flows.collect import collect\n"
DEPLOYMENTS = """
name: collecting
deployments:
  - name: stage
    entrypoint: collecting.py:collect
    work_pool: {name: modnet}
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
    tags: [may-be-cut]
"""


def report(device: str, release_id: str = "0123456789ab", reason: str = "no such layer") -> LatencyReport:
    return LatencyReport(
        release_id=release_id,
        target="cpu-fp32",
        device=device,
        runtime="openvino 2026.4.1",
        status="failed",
        started_at=utc_now(),
        conditions={},
        reason=reason,
    )


@pytest.fixture
def s3(s3_store: Callable[[str], S3Store]) -> Iterator[S3Store]:
    """The pipeline's store, where nothing was collected or reported yet."""
    store = s3_store("pipeline")

    def clear() -> None:
        for folder in ("reports/", "fleet/", "quarantine/"):
            for key in store.list(folder):
                store.delete(key)

    clear()
    yield store
    clear()


def test_collectors_at_once_keep_every_row_in_seaweedfs(s3: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "KEPT_AFTER", 3)
    reports = [report(f"device-{number:02d}") for number in range(20)]
    for one in reports:
        s3.put(one.key(), one.to_json())
    s3.put("reports/liar/0123456789ab/cpu-20261122T063000.000001Z.json", reports[0].to_json())
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(collect, [s3] * 3))
    look = collect(s3)
    assert (look.new_count, look.moved, look.left) == (0, (), ())
    assert {row.key for row in collected(s3)} == {one.key() for one in reports}
    assert s3.list("reports/") == sorted(one.key() for one in reports)
    assert s3.list("quarantine/reports/") == ["quarantine/reports/liar/0123456789ab/cpu-20261122T063000.000001Z.json"]
    s3.put(KEY, s3.get(KEY)[:-5])
    assert collect(s3).new_count == 20


def test_a_device_can_neither_read_nor_write_what_was_collected(
    s3: S3Store, s3_store: Callable[[str], S3Store]
) -> None:
    one = report("device")
    s3.put(one.key(), one.to_json())
    collect(s3)
    for name in ("device", "ingest"):
        other = s3_store(name)
        with pytest.raises(Exception, match="AccessDenied"):
            other.get(KEY)
        with pytest.raises(Exception, match="AccessDenied"):
            other.put(KEY, b"")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is up, without an agent, whose only flow is `collect`."""
    project = tmp_path_factory.mktemp("project")
    (project / "collecting.py").write_text(PROJECT)
    (project / "prefect.yaml").write_text(DEPLOYMENTS)
    stack = Stack(project / ".modnet", project, os.environ, targets=())
    try:
        stack.up()
        yield stack
    finally:
        end_processes(processes_with(MARKER, str(stack.folder)), 0.0)


def _as(environ: dict[str, str], what: Callable[[str], Any], url: str) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in environ.items():
            environment.setenv(name, value)
        return what(url)


def _runs(stack: Stack) -> list[dict[str, Any]]:
    where = {"flows": {"name": {"any_": ["collect"]}}, "sort": "START_TIME_ASC"}
    return list(stack.api._call("POST", "/flow_runs/filter", where))


@pytest.mark.slow
def test_a_report_is_collected_without_a_schedule_and_many_by_few_runs(stack: Stack) -> None:
    """The project has no schedule, so the ingest's event alone has them collected: the first, and the last of many."""
    with stack.changing_devices() as registry:
        devices = [registry.add(f"device-{number}") for number in range(4)]
        registry.add("newcomer")
    state = StackState.read(stack.folder / "stack.json")
    environs = [device_environ(os.environ, stack.folder, state, device) for device in devices]
    ingests = [_as(environ, Ingest, stack.ingest_url) for environ in environs]
    store = _as(stack.pipeline_environ(), open_store, "s3://modnet")
    time.sleep(2 * COLLECTED_AFTER_S)
    assert _runs(stack) == []  # no report, no run

    first = report("device-0", reason="<script>alert(1)</script>")
    ingests[0].put(first.key(), first.to_json())
    _wait_until(lambda: [run["state"]["type"] for run in _runs(stack)] == ["COMPLETED"])
    assert [row.key for row in collected(store)] == [first.key()]
    page = store.get("fleet/fleet.html").decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page

    sent = [[report(f"device-{number}", f"{count:012x}") for count in range(50)] for number in range(4)]

    def send(ingest: Ingest, reports: list[LatencyReport]) -> None:
        for one in reports:
            ingest.put(one.key(), one.to_json())

    first_runs, began = len(_runs(stack)), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, ingests, sent))
    sent_s = time.monotonic() - began
    _wait_until(lambda: len(collected(store)) == 201)
    _wait_until(lambda: all(run["state"]["type"] == "COMPLETED" for run in _runs(stack)))
    assert 1 <= len(_runs(stack)) - first_runs <= 2 + sent_s / COLLECTED_AFTER_S


@pytest.mark.slow
def test_the_automation_is_there_once_and_says_what_was_last_wanted(stack: Stack) -> None:
    def found() -> list[dict[str, Any]]:
        return list(stack.api._call("POST", "/automations/filter", {}))

    (before,) = found()
    deployment_id = stack.api.deployment_id("collect", "stage")
    assert deployment_id is not None
    wanted = collect_after_reports(deployment_id)
    stack.up()
    assert found() == [before]
    stack.api._call("POST", "/automations/", wanted)  # a second one of the same name
    stack.api.keep_automation(wanted | {"description": "changed"})
    (changed,) = found()
    assert changed["description"] == "changed"
    stack.up()
    (again,) = found()
    assert again["description"] == wanted["description"]
    assert again["trigger"]["within"] == COLLECTED_AFTER_S


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.3)
