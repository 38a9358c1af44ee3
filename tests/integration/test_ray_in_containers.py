"""A local Ray under the limits that containers have by default; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

RESULTS = """
from infra.ray_pool import run_on_ray, shutdown
for megabytes in (1, 100):
    assert len(run_on_ray(bytes, megabytes << 20, timeout_s=60)) == megabytes << 20
shutdown()
print("given back")
"""
SMALL_SHM = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell",
    [
        [*SMALL_SHM, 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh"],
        ["sh", "-c", 'ulimit -n 256 && exec "$@"', "sh"],
    ],
    ids=["/dev/shm of 64 MB", "256 open files"],
)
def test_run_on_ray_gives_large_results_where_a_container_is_narrow(shell: list[str]) -> None:
    if (
        shell[:-2] == SMALL_SHM
        and subprocess.run([*SMALL_SHM, "mount -t tmpfs tmpfs /dev/shm"], check=False).returncode
    ):
        pytest.skip("mounts of one's own are not allowed here")
    done = subprocess.run([*shell, sys.executable, "-c", RESULTS], capture_output=True, text=True, timeout=300)
    assert "given back" in done.stdout, done.stderr
