"""What a single-machine stack remembers between two commands: ports, secrets and the processes it started."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.device.files.atomic_file import atomic_file
from infra.errors import StackError
from infra.local_stack.ports import LOOPBACK
from infra.local_stack.processes import Process

STATE_VERSION = 1


@dataclass
class StackState:
    """The content of the state file.

    Attributes:
        secrets: secret key of each S3 identity, and what Prefect asks for.
        ports: port of each listener, as it was when the listener was last started.
        processes: what was started and not ended by us, by the service's name.
        deployed: digest of the project whose flows Prefect knows; empty before the first deployment.
        folder: where the stack was when a command last changed it; empty before that.
    """

    secrets: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    deployed: str = ""
    folder: str = ""

    @property
    def ui_url(self) -> str:
        """Address of Prefect's user interface."""
        return f"http://{LOOPBACK}:{self.ports.get('prefect', 0)}"

    @property
    def api_url(self) -> str:
        """Address of Prefect's REST API."""
        return f"{self.ui_url}/api"

    @property
    def store_endpoint(self) -> str:
        """Address of the S3 server."""
        return f"http://{LOOPBACK}:{self.ports.get('s3', 0)}"

    @property
    def ingest_url(self) -> str:
        """Address of the ingest."""
        return f"http://{LOOPBACK}:{self.ports.get('ingest', 0)}"

    @classmethod
    def new(cls, names: Iterable[str]) -> StackState:
        """Nothing started yet, and a fresh secret for each name."""
        return cls(secrets={name: secrets.token_urlsafe(30) for name in names})

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
                folder=str(content.get("folder", "")),  # the first stacks did not write it
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
