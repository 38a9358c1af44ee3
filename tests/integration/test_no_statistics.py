"""Nothing that the project starts reports to anybody: it looks up no foreign host and leaves no file at home.

Python's audit hooks see what Python code does; strace, where there is one, what native code does as well. A terminal
and a home folder without files are what a newcomer has; continuous integration has neither, and hides reports.
"""

from __future__ import annotations

import ipaddress
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.signing import root_file

ROOT = Path(__file__).parents[2]
# Matplotlib's list of the fonts of this machine, where a cache belongs.
CACHES = (".cache/matplotlib",)
STRACE = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect"]
# By connecting UDP sockets to these, which sends nothing, Ray asks the kernel for this machine's own address.
RAY_PROBES = {"8.8.8.8:53", "2001:4860:4860::8888:53"}
HOOK = """
import os, socket, sys

log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    elif event == "socket.connect" and args[0].type == socket.SOCK_STREAM and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode("idna")
    os.write(log, f"{{host or 'localhost'}}\\n".encode())

sys.addaudithook(hook)
"""
QUANTISE = """
from modnet.export.quantise import quantise
import numpy as np, openvino as ov
from openvino import opset8 as ops
image = ops.parameter([1, 3, 8, 8], np.float32)
weights = np.ones((4, 3, 3, 3), np.float32)
product = ops.convolution(image, weights, [1, 1], [0, 0], [0, 0], [1, 1])
quantise(ov.Model([ops.relu(product)], [image]), [np.zeros((1, 3, 8, 8), np.float32)])
"""
ON_RAY = """
from infra.errors import WorkerLostError
from infra.ray_pool import run_on_ray, shutdown
from infra.device.measuring.runtime import runtime_text
for tries_left in (2, 1, 0):
    try:
        assert run_on_ray(runtime_text, timeout_s=60).startswith("openvino")
        break
    except WorkerLostError:  # a busy machine may not start Ray in time
        if not tries_left:
            raise
shutdown()
"""
BENCHMARKS = """
import importlib, pkgutil, benchmarks
for found in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
    if found.name != "benchmarks.latency.old_runtime":  # wants an old OpenVINO
        importlib.import_module(found.name)
"""
ENTRY_POINTS = {
    "config": ["-m", "tasks.cli", "config"],
    "infer": ["-m", "tasks.cli", "infer", "--input", "photo.png", "--out", "mattes"],
    "int8": ["-c", QUANTISE],
    "agent": ["-m", "infra.device", "--store", "file:///", "--target", "cpu-fp32", "--device", "d", "--once",
              "--root", str(root_file()), "--work-folder", "work"],
    "flow": ["-c", "import flows.compress"],
    "ray": ["-c", ON_RAY],
    "stack": ["-m", "infra.local_stack", "--help"],
    "ingest": ["-m", "infra.ingest", "--help"],
    "benchmarks": ["-c", BENCHMARKS],
}  # fmt: skip
PROJECT = {
    "prefect.yaml": """
name: tiny
deployments:
  - {name: on-demand, entrypoint: "tiny.py:compress", work_pool: {name: modnet}}
""",
    "tiny.py": f"""
import flows
from prefect import flow

@flow
def compress():
    exec({ON_RAY!r})
""",
}


class Watched:
    """Runs programs as a newcomer would, and knows whom they asked for and what they left at home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._seen_by_python = folder / "hosts"
        self._seen_by_strace = folder / "strace"
        self.has_strace = _can_trace()
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(HOOK.format(log=str(self._seen_by_python)))
        self.home.mkdir()
        self.temporary = folder / ("temporary" * 5)
        self.temporary.mkdir()

    def run(self, command: list[str]) -> tuple[int, str]:
        """Exit code and output of a program in a terminal; no variable says that this is continuous integration."""
        environ = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "HOME": str(self.home),
            "MODNET_CACHE": str(self.folder / "cache"),  # what the project itself keeps
            "TMPDIR": str(self.temporary),  # longer than Ray can take, as some machines have it
            "PYTHONPATH": f"{self.folder / 'site'}{os.pathsep}{ROOT}",
        }
        tracer = [*STRACE, "-o", str(self._seen_by_strace)] if self.has_strace else []
        master, terminal = pty.openpty()
        process = subprocess.Popen(
            [*tracer, *command],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        output = b""
        while chunk := _read(master):
            output += chunk
        os.close(master)
        return process.wait(), output.decode(errors="replace")

    def foreign_hosts(self) -> set[str]:
        """Hosts that were looked up or connected to and are not this machine."""
        asked = set(self._seen_by_python.read_text().split()) if self._seen_by_python.exists() else set()
        found = {host for host in asked - {"localhost", socket.gethostname()} if not _is_here(host)}
        lines = self._seen_by_strace.read_text(errors="replace").splitlines() if self.has_strace else []
        return found.union(*map(_hosts_in, lines))

    def files_at_home(self) -> set[str]:
        """Files below the home folder, caches left out."""
        files = {str(path.relative_to(self.home)) for path in self.home.rglob("*") if not path.is_dir()}
        return {file for file in files if not file.startswith(CACHES)}


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_entry_point_reports_to_nobody(entry_point: str, watched: Watched) -> None:
    cv2.imwrite(str(watched.folder / "photo.png"), np.zeros((64, 64, 3), np.uint8))
    code, output = watched.run([sys.executable, *ENTRY_POINTS[entry_point]])
    assert code == 0, output
    require_silence(watched)


@pytest.mark.slow
def test_a_whole_stack_reports_to_nobody(watched: Watched) -> None:
    """Prefect's server, worker and flow, SeaweedFS, the agent and Ray."""
    for name, text in PROJECT.items():
        (watched.folder / name).write_text(text)
    (watched.folder / "parameters.json").write_text("{}")
    command = [sys.executable, "-m", "infra.local_stack", "--project", str(watched.folder), "--folder", "stack"]
    code, output = watched.run([*command, "nightly", "--parameters-file", "parameters.json"])
    assert code == 0, output
    require_silence(watched)


@pytest.mark.parametrize(
    "program",
    [[sys.executable, "-c", "import socket; socket.create_connection(('host.invalid', 80))"],
     ["getent", "ahosts", "host.invalid"]],
    ids=["python", "native"],
)  # fmt: skip
def test_a_look_up_is_seen(program: list[str], watched: Watched) -> None:
    """`.invalid` is the name that no host may have."""
    if program[0] == "getent" and not watched.has_strace:
        pytest.skip("strace is not installed or may not trace: native code cannot be watched")
    assert watched.run(program)[0] != 0
    assert watched.foreign_hosts()


def require_silence(watched: Watched) -> None:
    assert watched.foreign_hosts() == set()
    assert watched.files_at_home() == set()
    if not watched.has_strace:
        pytest.skip("silent as far as Python's audit hooks see; strace is not installed or may not trace")


def _can_trace() -> bool:
    return shutil.which("strace") is not None and subprocess.run([*STRACE, "true"], capture_output=True).returncode == 0


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when nobody has the terminal open any more
        return b""


def _hosts_in(line: str) -> set[str]:
    """The other machine, or the name server on this one, that a line of strace connects to: also for a look-up."""
    found = re.findall(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"', line)
    return {f"{host}:{port}" for port, host in found if port == "53" or not _is_here(host)} - RAY_PROBES


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.removeprefix("::ffff:"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or str(address) == _own_address()


def _own_address() -> str:
    """The address that other machines would see; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 53))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
