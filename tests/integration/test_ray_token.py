"""A real cluster that asks for a token: whoever brings another one is told so, and does not try again."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local_stack.ports import LOOPBACK, choose_ports, listens
from infra.local_stack.processes import end_processes, processes_with

PROGRAM = """
import sys
from infra.ray_pool import run_on_ray, shutdown
try:
    print(run_on_ray(len, (1, 2), timeout_s=60, address=sys.argv[1]))
    shutdown()
except Exception as error:
    print(type(error).__name__, error)
"""
MARK = "MODNET_TEST_HEAD"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and token."""
    port = choose_ports({"gcs": 0}, {})["gcs"]
    token, folder = secrets.token_hex(32), tmp_path_factory.mktemp("r")
    environ = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, MARK: str(folder)}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port", str(port)]
    command += ["--node-ip-address", LOOPBACK, "--num-cpus", "1", "--include-dashboard", "false"]
    with open(folder / "log", "wb") as log:
        head = subprocess.Popen([*command, "--temp-dir", str(folder)], env=environ, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while not listens(port):
        assert head.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield f"{LOOPBACK}:{port}", token
    head.send_signal(signal.SIGTERM)
    head.wait(60)
    end_processes(processes_with(MARK, str(folder)), 0.0)


@pytest.mark.parametrize("brings", ["the token", "another", "none", "no mode"])
def test_only_who_brings_the_token_computes(brings: str, cluster: tuple[str, str]) -> None:
    address, token = cluster
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environ |= {} if brings == "no mode" else {"RAY_AUTH_MODE": "token"}
    environ |= {"the token": {"RAY_AUTH_TOKEN": token}, "another": {"RAY_AUTH_TOKEN": 64 * "b"}}.get(brings, {})
    environ["HOME"] = "/nonexistent"  # no token of this user's
    command = [sys.executable, "-c", PROGRAM, address]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    if brings == "the token":
        assert done.stdout == "2\n", done.stderr[-2000:]
    else:
        assert done.stdout.startswith(f"SettingsError Ray at '{address}': it refuses the token of this process")
