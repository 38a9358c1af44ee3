from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

import pytest

from infra.device.agent.pace import bytes_below, must_move
from infra.device.errors import StoreUnavailableError


def test_must_move_interrupts_who_waits_in_a_socket_for_what_never_comes() -> None:
    silent, waiting = socket.socketpair()
    words = r"the pointer: nothing came for 0\.05 s"
    with silent, waiting, pytest.raises(StoreUnavailableError, match=words), must_move("the pointer", 0.05):
        waiting.recv(1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_must_move_lets_a_download_go_on_as_long_as_it_grows(tmp_path: Path) -> None:
    silent, waiting = socket.socketpair()
    looked: list[int] = []

    def progress() -> int:
        size = bytes_below(tmp_path)
        looked.append(size)
        if size < 5:  # grows between two looks
            with open(tmp_path / "file", "ab") as file:
                file.write(b"x")
        return size

    expected = pytest.raises(StoreUnavailableError, match="release")
    with silent, waiting, expected, must_move("release", 0.01, progress):
        waiting.recv(1)
    assert looked == [0, 1, 2, 3, 4, 5, 5]


def test_must_move_leaves_the_clock_as_it_was() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with must_move("the pointer", 300):
        threading.Event().wait(0.01)
    assert signal.getsignal(signal.SIGALRM) == before
