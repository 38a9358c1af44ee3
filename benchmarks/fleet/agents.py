"""One agent as a process, behind proxies of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fleet.proxy import Proxy
from benchmarks.services import Services, environ_of
from infra.ingest.devices import Device
from infra.local_stack.ports import LOOPBACK
from infra.local_stack.services import BUCKET

TARGET = "cpu-fp32"
_INTERVAL_S = 0.5
CLOCK = """\
# The clock of this process is wrong, as FLEET_CLOCK_OFF_S says.
import datetime, os, time
off_s, right = float(os.environ["FLEET_CLOCK_OFF_S"]), time.time
time.time = lambda: right() + off_s
class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)
datetime.datetime = Wrong
"""


class AgentProcess:
    """A long-running agent of one device.

    Attributes:
        name: of the device.
        store, ingest: what stands between the agent and each of them.
        ends: exit codes and signals with which it ended by itself; none for an agent that only ends when told.
    """

    def __init__(self, device: Device, folder: Path, root: Path, services: Services) -> None:
        self.device, self.name = device, device.name
        self.store, self.ingest = Proxy(services.ports["s3"]), Proxy(services.ports["ingest"])
        self.ends: list[int] = []
        self._folder, self._root = folder, root
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        (folder / "clock").mkdir()
        (folder / "clock" / "sitecustomize.py").write_text(CLOCK)
        (folder / "agent.toml").write_text(
            f"""device = "{device.name}"
store = "s3://{BUCKET}"
root = "{root}"
work_folder = "work"
ingest = "http://{LOOPBACK}:{self.ingest.port}"
targets = ["{TARGET}"]
interval_s = {_INTERVAL_S}
load_s = 60
inference_s = 5
warm_up = 0
repeats = 5
threads = 1
"""
        )

    @contextmanager
    def running(self) -> Iterator[AgentProcess]:
        """Runs until the block ends."""
        with self.store.serving(), self.ingest.serving():
            self.start()
            try:
                yield self
            finally:
                self.kill()

    def start(self, clock_off_s: float = 0.0) -> None:
        """Starts it, with a clock that is wrong where that is said."""
        environ = environ_of(self.device.key_id, self.device.secret, self.store.port)
        if clock_off_s:
            environ |= {"PYTHONPATH": str(self._folder / "clock"), "FLEET_CLOCK_OFF_S": str(clock_off_s)}
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(self._command(), env=environ, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, to the agent alone: what it started must end by itself."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        elif self._process.returncode != -signal.SIGKILL:
            self.ends.append(self._process.returncode)
        self._process.wait()

    def restart(self, clock_off_s: float = 0.0) -> None:
        self.kill()
        self.start(clock_off_s)

    def forget(self) -> None:
        """Loses what it remembers, as a device does whose card was changed."""
        self.kill()
        shutil.rmtree(self._folder / "work")
        self.start()

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def _command(self) -> list[str]:
        """A round every half second; short deadlines; a few samples."""
        return [sys.executable, "-m", "infra.device", "run", "--config", str(self._folder / "agent.toml")]
