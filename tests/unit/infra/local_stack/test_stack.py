from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import StackError
from infra.local_stack.processes import Process
from infra.local_stack.services import SERVICES
from infra.local_stack.stack import Stack
from infra.local_stack.state import StackState


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    state = StackState({"pipeline": "pipeline-secret", "device": "device-secret"}, {"s3": 8333, "prefect": 4200})
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
