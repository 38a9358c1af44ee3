"""Ports of the services of a single-machine run, all on loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, nullcontext

from infra.errors import StackError

LOOPBACK = "127.0.0.1"


def choose_ports(known: Mapping[str, int], fixed: Mapping[str, int]) -> dict[str, int]:
    """A free loopback port for every name in `known`: the fixed one, else the known one, else any.

    Args:
        known: port to try by name; 0 for any.
        fixed: ports that the user insists on, by name.

    Raises:
        StackError: a fixed port is taken.
    """
    chosen = {}
    with ExitStack() as held:  # all are held until the last is chosen, so that no two are the same
        for name, port in {**known, **fixed}.items():
            listener = _listen(port)
            if listener is None and name in fixed:
                raise StackError(f"port {port} for {name}: taken by another program; free it or choose another")
            listener = held.enter_context(listener or socket.create_server((LOOPBACK, 0)))
            chosen[name] = int(listener.getsockname()[1])
    return chosen


def wait_until_free(ports: Collection[int], within_s: float = 10.0) -> None:
    """Returns when all these loopback ports are free, or the time is over.

    A process that was killed is gone for its parent before its last thread has let its ports go.
    """
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at:
        with ExitStack() as held:
            listeners = [_listen(port) for port in ports]
            for listener in listeners:
                held.enter_context(listener or nullcontext())
        if None not in listeners:
            return
        time.sleep(0.1)


def fixed_port(environ: Mapping[str, str], variable: str) -> int | None:
    """The port that an environment variable asks for; None when it is not set.

    Raises:
        StackError: it is not a port.
    """
    text = environ.get(variable)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise StackError(f"{variable} = {text!r}: wanted a port from 1 to 65535")
    return int(text)


def listens(port: int) -> bool:
    """Something takes connections at a loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=5.0).close()
    except OSError:
        return False
    return True


def _listen(port: int) -> socket.socket | None:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError:
        return None
