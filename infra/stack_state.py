"""What a single-machine stack remembers between two commands: ports, secrets and the processes it started."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.atomic_file import atomic_file
from infra.errors import StackError
from infra.processes import Process

STATE_VERSION = 1


@dataclass
class StackState:
    """The content of the state file.

    Attributes:
        secrets: secret key of each S3 identity.
        ports: port of each listener, as it was when the listener was last started.
        processes: what was started and not ended by us, by the service's name.
        deployed: digest of the project whose flows Prefect knows; empty before the first deployment.
    """

    secrets: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    deployed: str = ""

    @classmethod
    def new(cls, identities: Iterable[str]) -> StackState:
        """Nothing started yet, and a fresh secret for each identity."""
        return cls(secrets={name: secrets.token_urlsafe(30) for name in identities})

    @classmethod
    def read(cls, path: Path) -> StackState:
        """The state in a file.

        Raises:
            StackError: the file is cut off, malformed or of another version.
            FileNotFoundError: no such file.
        """
        text = path.read_text(errors="replace")
        try:
            content = json.loads(text)
            if content["version"] != STATE_VERSION:
                raise ValueError(f"got version {content['version']!r}, wanted {STATE_VERSION}")
            return cls(
                secrets={str(name): str(secret) for name, secret in content["secrets"].items()},
                ports={str(name): int(port) for name, port in content["ports"].items()},
                processes={str(n): Process(int(p["pid"]), str(p["started"])) for n, p in content["processes"].items()},
                deployed=str(content["deployed"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StackError(
                f"{path}: not the state of a stack ({type(error).__name__}: {error}); end its processes by hand, "
                "then remove the file"
            ) from error

    def write(self, path: Path) -> None:
        """Replaces the file, whole or not at all; only its owner may read it."""
        with atomic_file(path) as partial:  # a temporary file is born with mode 0600
            partial.write(json.dumps({"version": STATE_VERSION, **asdict(self)}, indent=1).encode())


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
            listener = held.enter_context(listener or socket.create_server(("127.0.0.1", 0)))
            chosen[name] = int(listener.getsockname()[1])
    return chosen


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


def _listen(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None
