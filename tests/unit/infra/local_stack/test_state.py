from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.errors import StackError
from infra.local_stack.processes import Process
from infra.local_stack.state import StackState


def test_read_gives_what_was_written_for_the_owner_only(tmp_path: Path) -> None:
    state = StackState.new(("pipeline", "device"))
    state.ports["s3"] = 8333
    state.processes["store"] = Process(123, "boot/456")
    state.write(tmp_path / "stack.json")
    assert StackState.read(tmp_path / "stack.json") == state
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600


def test_new_makes_another_secret_for_everyone() -> None:
    secrets = [*StackState.new(("a", "b")).secrets.values(), *StackState.new(("a", "b")).secrets.values()]
    assert len(set(secrets)) == 4
    assert min(map(len, secrets)) >= 40


GOOD: dict[str, Any] = {"version": 1, "secrets": {"a": "s"}, "ports": {"s3": 1}, "processes": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        json.dumps(GOOD)[:-5],
        "[]",
        "null",
        "[" * 100_000,
        json.dumps({**GOOD, "version": 2}),
        json.dumps({**GOOD, "secrets": ["a"]}),
        json.dumps({**GOOD, "ports": {"s3": "many"}}),
        json.dumps({**GOOD, "processes": {"store": {"pid": 1}}}),
        json.dumps({key: value for key, value in GOOD.items() if key != "secrets"}),
    ],
    ids=["empty", "cut", "list", "null", "deep", "version", "secrets", "port", "process", "missing"],
)
def test_read_refuses_what_is_not_a_state(text: str, tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(StackError, match=r"stack\.json: not the state of a stack"):
        StackState.read(tmp_path / "stack.json")
