from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from infra.device.errors import SettingsError
from infra.device.stores.folder_store import FolderStore
from infra.errors import StackError
from infra.local_stack.__main__ import _print_status
from infra.local_stack.environments import MARKER
from infra.local_stack.prefect_api import ENDED, PrefectApi
from infra.local_stack.processes import Process, end_processes, is_running, processes_with, start_process
from infra.local_stack.services import SERVICES, WORKER
from infra.local_stack.stack import Stack
from infra.local_stack.state import StackState
from infra.publishing.keys import development_keys
from tests.signing import sign

RUN_ID = str(uuid4())


class _FakeApi(PrefectApi):
    """A server that has forgotten nothing and knows of one running flow run, whose process has this id."""

    def __init__(self, pid: int) -> None:
        super().__init__("http://nowhere", "secret")
        self.run_now = {"id": RUN_ID, "name": "night", "infrastructure_pid": str(pid), "work_queue_name": "computing"}
        self.run_now["labels"] = {"prefect.worker.name": f"{WORKER}1"}
        self.run_now["state"] = {"type": "RUNNING", "name": "Running"}
        self.tables: list[Any] = []

    def open_runs(self) -> list[dict[str, Any]]:
        return [] if self.run_now["state"]["type"] in ENDED else [self.run_now]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.run_now

    def runs(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        return []

    crashed_runs = open_task_runs = subflow_runs = lambda self, _: []

    def runs_with_open_parts(self) -> set[str]:
        return set()

    def end(self, run_id: str, state: str, message: str) -> None:
        self.run_now["state"] = {"type": state, "name": state.capitalize(), "message": message}

    def show_table(self, key: str, rows: Any, description: str) -> None:
        self.tables.append(rows)


class _StackWithFakeApi(Stack):
    fake_api: PrefectApi

    @property
    def api(self) -> PrefectApi:
        return self.fake_api


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    secrets = {"pipeline": "pipeline-secret", "ingest": "ingest-secret", "prefect": "prefect-secret"}
    state = StackState(secrets, {"s3": 8333, "prefect": 4200})
    state.processes["store"] = Process(1, "an earlier boot/1")
    state.write(tmp_path / "stack.json")
    return Stack(tmp_path, tmp_path, {})


def test_status_says_what_does_not_run_when_a_pid_now_belongs_to_another_process(stack: Stack) -> None:
    assert stack.status() == dict.fromkeys(SERVICES)
    assert not stack.is_up()


def test_status_leaves_out_the_agent_when_there_are_no_targets(tmp_path: Path) -> None:
    assert "agent" not in Stack(tmp_path, tmp_path, {}, targets=()).status()


def test_check_names_the_service_that_ended_and_the_end_of_its_log(stack: Stack) -> None:
    (stack.folder / "log").mkdir()
    (stack.folder / "log" / "store.log").write_text("first\n" * 100 + "disk is full\n")
    with pytest.raises(StackError, match=r"store: ended by itself(.|\n)*disk is full"):
        stack.check()


def test_devices_are_added_while_the_store_does_not_run(stack: Stack) -> None:
    with stack.changing_devices() as devices:
        devices.add("local")
    assert stack.device_environ()["AWS_ACCESS_KEY_ID"] == "device-local"
    assert not (stack.folder / "identities.json").exists()
    with stack._locked():
        identities = json.loads(stack._write_identities().read_text())["identities"]
    assert [one["name"] for one in identities] == ["pipeline", "ingest", "device-local"]


def test_a_revocation_that_did_not_reach_the_store_reaches_it_when_it_is_repeated(
    stack: Stack, running: dict[str, Process]
) -> None:
    with stack.changing_devices() as devices:
        devices.add("kitchen")
    state = StackState.read(stack.folder / "stack.json")
    state.processes["store"] = running["flow"]
    state.write(stack.folder / "stack.json")
    known = stack.folder / "identities.json"
    known.mkdir()  # nothing can be written there
    for _ in range(2):
        with pytest.raises(OSError, match="identities"), stack.changing_devices() as devices:
            devices.revoke("kitchen")
    known.rmdir()
    with stack.changing_devices() as devices:
        devices.revoke("kitchen")
    assert json.loads(known.read_text())["identities"][-1] == {
        "name": "device-kitchen", "credentials": [], "policyNames": ["device"]
    }  # fmt: skip


def test_the_callers_keys_are_found_as_flows_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    stack = Stack(tmp_path / "stack", tmp_path, {"MODNET_KEYS": "~/k", "MODNET_STORE": "not this stack's"})
    assert stack.keys == tmp_path / "k"
    assert Stack(tmp_path / "stack", tmp_path, {}).keys == tmp_path / "stack" / "keys"
    with pytest.raises(SettingsError, match="MODNET_KEYS = 'k': wanted an absolute path"):
        Stack(tmp_path / "stack", tmp_path, {"MODNET_KEYS": "k"}).up()
    monkeypatch.setattr(Stack, "is_up", lambda stack: True)
    for is_development in (False, True):
        if is_development:
            development_keys(stack.keys)
        _print_status(stack)
        assert ("of a development root" in capsys.readouterr().out) == is_development


def test_keys_that_cannot_sign_anew_are_told_and_hinder_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(tmp_path / "store")
    stack = Stack(tmp_path / "stack", tmp_path, {})
    environ = {**os.environ, "MODNET_STORE": store.url, "MODNET_KEYS": str(tmp_path / "none")}
    monkeypatch.setattr(stack, "pipeline_environ", lambda: environ)
    stack._renew()
    assert capsys.readouterr().err == ""  # nothing was ever signed
    sign(store, "targets/a/current.json", b"x")
    stack._renew()
    assert "what is released was not signed anew: " in (said := capsys.readouterr().err)
    assert f"{tmp_path}/none/root.json: no such file" in said


def test_down_leaves_other_processes_alone_and_forgets_its_own(stack: Stack) -> None:
    stack.down()
    assert StackState.read(stack.folder / "stack.json").processes == {}


@pytest.fixture
def running(stack: Stack) -> Iterator[dict[str, Process]]:
    """A process for each of two services, and one of a flow."""
    (stack.folder / "log").mkdir()
    found = {}
    for name in ("prefect", "worker", "flow"):
        environ = {MARKER: str(stack.folder), **({"PREFECT__FLOW_RUN_ID": RUN_ID} if name == "flow" else {})}
        found[name] = start_process(["/bin/sleep", "600"], environ=environ, log=stack.folder / "log" / name)
    state = StackState.read(stack.folder / "stack.json")
    state.processes = {name: found[name] for name in ("prefect", "worker")}
    state.write(stack.folder / "stack.json")
    yield found
    end_processes(processes_with(MARKER, str(stack.folder)), 0.0)


def test_down_ends_the_named_services_and_with_the_last_one_all(stack: Stack, running: dict[str, Process]) -> None:
    stack.down(["worker", "store"])
    assert [is_running(running[name]) for name in ("prefect", "worker", "flow")] == [True, False, True]
    assert stack.status() == {**dict.fromkeys(SERVICES), "prefect": running["prefect"]}
    stack.down(["prefect"])
    assert not any(map(is_running, running.values()))


@pytest.mark.parametrize("is_computed", [True, False])
def test_a_start_sweeps_and_says_so(
    is_computed: bool, stack: Stack, running: dict[str, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    starting = _StackWithFakeApi(stack.folder, stack.folder, {})
    starting.fake_api = api = _FakeApi(running["flow"].pid)
    if not is_computed:
        end_processes([running["flow"]], 0.0)
    starting._sweep()
    said = capsys.readouterr().err
    if is_computed:
        assert (api.state(RUN_ID)["type"], said, api.tables) == ("RUNNING", "", [])
    else:
        assert api.state(RUN_ID)["type"] == "CRASHED"
        assert said == f"swept: flow run night: Running, Crashed now: its process is gone from {platform.node()}\n"
        assert [row["what"] for rows in api.tables for row in rows] == ["flow run night"]


def test_down_says_that_it_ends_what_computes(stack: Stack, running: dict[str, Process]) -> None:
    ending = _StackWithFakeApi(stack.folder, stack.folder, {})
    ending.fake_api = api = _FakeApi(running["flow"].pid)
    ending.down(["worker"])
    assert api.state(RUN_ID)["type"] == "RUNNING"
    ending.down()
    assert api.state(RUN_ID) == {"type": "CANCELLED", "name": "Cancelled", "message": "the services were stopped"}


def test_started_leaves_out_what_another_command_has_started(stack: Stack, running: dict[str, Process]) -> None:
    with stack._locked():
        stack._start("worker", lambda: pytest.fail("runs already"))
        assert stack.started() == []
        stack._start("agent", lambda: (["/bin/sleep", "60"], {}))
        assert stack.started() == ["agent"]
        end_processes([stack.status()["agent"]], 0.0)  # and another command may start it anew
        assert stack.started() == []


def test_a_moved_stack_ends_what_it_started_before(stack: Stack, running: dict[str, Process], tmp_path: Path) -> None:
    stack.down(["store"])  # writes where the stack is
    moved = Stack(stack.folder.rename(tmp_path.with_name(f"{tmp_path.name}-moved")), tmp_path, {})
    with moved._locked():
        assert not any(map(is_running, running.values()))
        assert moved.status() == dict.fromkeys(SERVICES)
    moved.folder.rename(stack.folder)


def test_a_copied_stack_leaves_the_processes_of_its_original_alone(
    stack: Stack, running: dict[str, Process], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack.down(["store"])
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(stack.folder, folder, dirs_exist_ok=True)
    copy = Stack(folder, folder, {})
    assert copy.status() == dict.fromkeys(SERVICES)
    copy.down()
    assert all(map(is_running, running.values()))


def test_a_stack_is_the_same_by_every_path(stack: Stack, running: dict[str, Process], tmp_path: Path) -> None:
    stack.down(["store"])
    alias = tmp_path.with_name(f"{tmp_path.name}-alias")
    alias.symlink_to(stack.folder)
    assert Stack(alias, tmp_path, {}).status()["worker"] == running["worker"]
    with Stack(alias, tmp_path, {})._locked():
        assert is_running(running["worker"])


def test_up_says_when_the_disk_is_full(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=700_000_000))
    with pytest.raises(StackError, match=r"0\.70 GB free on its disk, wanted at least 1\.07 GB"):
        stack.up()
    assert StackState.read(stack.folder / "stack.json").ports == {"s3": 8333, "prefect": 4200}  # nothing was begun


@pytest.mark.parametrize("lacking", ["prefect", "ingest"])
def test_a_stack_of_before_gets_the_secrets_that_it_lacks_once_its_services_have_ended(
    stack: Stack, running: dict[str, Process], lacking: str
) -> None:
    content = json.loads((stack.folder / "stack.json").read_text())
    del content["secrets"][lacking]
    content["secrets"]["device"] = "that of all devices"
    (stack.folder / "stack.json").write_text(json.dumps(content))
    with pytest.raises(StackError, match="open to every user of this machine: end them first"):
        stack.up()
    stack.down()
    with stack._locked():
        stack._make_secrets()
        assert len(stack._state.secrets[lacking]) >= 40
        assert stack._state.secrets["pipeline"] == "pipeline-secret"
        assert "that of all devices" not in stack._write_identities().read_text()


def test_the_folder_is_for_its_owner_also_where_an_earlier_version_has_made_it(stack: Stack) -> None:
    stack.folder.chmod(0o755)
    with stack._locked():
        assert stack.folder.stat().st_mode & 0o777 == 0o700


def test_up_refuses_a_socket_that_another_user_has_put_where_the_store_will_have_its_own(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(f"not allowed: {path}")

    squatted = Path("/tmp/seaweedfs-s3-8333.sock")
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [squatted] if "seaweedfs" in pattern else [])
    monkeypatch.setattr(Path, "unlink", refuse)
    with stack._locked(), pytest.raises(StackError, match=rf"{squatted} \(s3\).*: belongs to another user"):
        stack._store()
    stack.down()


def test_down_does_nothing_when_there_never_was_a_stack(tmp_path: Path) -> None:
    Stack(tmp_path / "none", tmp_path, {}).down()
    assert not (tmp_path / "none").exists()


def test_up_refuses_when_another_command_is_at_work(stack: Stack) -> None:
    with stack._locked(), pytest.raises(StackError, match="another command"):
        stack.up()


def test_up_refuses_when_a_fixed_port_is_none(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="MODNET_S3_PORT = 'http'"):
        Stack(tmp_path, tmp_path, {"MODNET_S3_PORT": "http"}).up()
