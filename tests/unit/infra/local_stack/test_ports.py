from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from infra.errors import StackError
from infra.local_stack.ports import choose_ports, fixed_port, wait_until_free


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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


def test_wait_until_free_waits_for_the_last_thread_of_a_killed_process() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    closing = threading.Timer(0.3, listener.close)
    closing.start()
    wait_until_free([free_port(), port])
    assert choose_ports({"s3": port}, {}) == {"s3": port}
    closing.join()


def test_wait_until_free_ends_when_another_program_keeps_the_port(taken_port: int) -> None:
    began = time.monotonic()
    wait_until_free([taken_port], within_s=0.3)
    assert time.monotonic() - began >= 0.3


def test_fixed_port_reads_the_variable() -> None:
    assert fixed_port({"PORT": "4200"}, "PORT") == 4200
    assert fixed_port({}, "PORT") is None


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "4200 ", "http", "٣", "9" * 5000])
def test_fixed_port_refuses_what_is_no_port(text: str) -> None:
    with pytest.raises(StackError, match="PORT = .*wanted a port from 1 to 65535"):
        fixed_port({"PORT": text}, "PORT")
