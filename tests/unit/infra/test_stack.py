from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.errors import StackError
from infra.processes import Process
from infra.stack import SERVICES, Stack, store_identities
from infra.stack_state import StackState

FOREIGN = {
    "PATH": "/bin",
    "HOME": "/home/someone",
    "AWS_PROFILE": "work",
    "AWS_SESSION_TOKEN": "token",
    "PREFECT_API_URL": "https://elsewhere/api",
    "MODNET_STORE": "s3://elsewhere",
    "RAY_ADDRESS": "elsewhere:6379",
    "EDITOR": "ed",
}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    state = StackState({"pipeline": "pipeline-secret", "device": "device-secret"}, {"s3": 8333, "prefect": 4200})
    state.processes["store"] = Process(1, "an earlier boot/1")
    state.write(tmp_path / "stack.json")
    return Stack(tmp_path, tmp_path, FOREIGN)


def test_pipeline_environ_names_this_stack_and_no_other_service(stack: Stack) -> None:
    environ = stack.pipeline_environ()
    assert environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8333"
    assert environ["AWS_SECRET_ACCESS_KEY"] == "pipeline-secret"
    assert environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environ["EDITOR"] == "ed"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "RAY_ADDRESS"} & environ.keys()
    assert "elsewhere" not in "".join(environ.values())


def test_device_environ_holds_nothing_but_the_devices_rights(stack: Stack) -> None:
    environ = stack.device_environ()
    assert environ["AWS_SECRET_ACCESS_KEY"] == "device-secret"
    assert "pipeline-secret" not in environ.values()
    assert not [name for name in environ if name.startswith("PREFECT") or name == "EDITOR"]


def test_store_identities_gives_the_device_no_right_to_change_releases() -> None:
    identities = store_identities({"pipeline": "p", "device": "d"})
    (statements,) = (json.loads(policy["content"])["Statement"] for policy in identities["policies"])
    assert [(one["Action"], one["Resource"]) for one in statements] == [
        (["s3:GetObject"], ["arn:aws:s3:::modnet/releases/*", "arn:aws:s3:::modnet/targets/*"]),
        (["s3:ListBucket"], ["arn:aws:s3:::modnet"]),
        (["s3:PutObject"], ["arn:aws:s3:::modnet/reports/*"]),
    ]
    assert [one["credentials"][0]["secretKey"] for one in identities["identities"]] == ["p", "d"]


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


def test_down_leaves_other_processes_alone_and_forgets_its_own(stack: Stack) -> None:
    stack.down()
    assert StackState.read(stack.folder / "stack.json").processes == {}


def test_down_does_nothing_when_there_never_was_a_stack(tmp_path: Path) -> None:
    Stack(tmp_path / "none", tmp_path, {}).down()
    assert not (tmp_path / "none").exists()


def test_up_refuses_when_another_command_is_at_work(stack: Stack) -> None:
    with stack._locked(), pytest.raises(StackError, match="another command"):
        stack.up()


def test_up_refuses_when_a_fixed_port_is_none(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="MODNET_S3_PORT = 'http'"):
        Stack(tmp_path, tmp_path, {"MODNET_S3_PORT": "http"}).up()
