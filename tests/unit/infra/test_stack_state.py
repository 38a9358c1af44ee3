from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.errors import StackError
from infra.processes import Process
from infra.stack_state import StackState, choose_ports, fixed_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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


def test_choose_ports_keeps_the_known_port_when_it_is_free() -> None:
    port = free_port()
    assert choose_ports({"s3": port}, {}) == {"s3": port}


def test_choose_ports_gives_other_ports_when_the_known_ones_are_taken(taken_port: int) -> None:
    chosen = choose_ports({"a": taken_port, "b": taken_port, "c": 0}, {})
    assert list(chosen) == ["a", "b", "c"]
    assert len({taken_port, *chosen.values()}) == 4


def test_choose_ports_gives_different_ports_when_two_names_know_the_same() -> None:
    port = free_port()
    chosen = choose_ports({"a": port, "b": port}, {})
    assert chosen["a"] == port != chosen["b"]


def test_choose_ports_prefers_the_fixed_port() -> None:
    port = free_port()
    assert choose_ports({"s3": 0}, {"s3": port}) == {"s3": port}


def test_choose_ports_refuses_when_the_fixed_port_is_taken(taken_port: int) -> None:
    with pytest.raises(StackError, match=f"port {taken_port} for s3: taken"):
        choose_ports({"s3": 0}, {"s3": taken_port})


def test_fixed_port_reads_the_variable() -> None:
    assert fixed_port({"PORT": "4200"}, "PORT") == 4200
    assert fixed_port({}, "PORT") is None


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "4200 ", "http", "٣", "9" * 5000])
def test_fixed_port_refuses_what_is_no_port(text: str) -> None:
    with pytest.raises(StackError, match="PORT = .*wanted a port from 1 to 65535"):
        fixed_port({"PORT": text}, "PORT")
