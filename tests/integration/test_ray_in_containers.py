"""A local Ray under the limits that containers have by default; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

RESULTS = """
from infra.ray_pool import run_on_ray, shutdown
for megabytes in (1, 100):
    assert len(run_on_ray(bytes, megabytes << 20, timeout_s=60)) == megabytes << 20
shutdown()
print("given back")
"""
SMALL_SHM = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


LIMITED = """
import ray
from infra.errors import OutOfMemoryError
from infra.ray_pool import run_on_ray, shutdown
assert run_on_ray(bytes, 10, timeout_s=60) == bytes(10)
(node,) = ray.nodes()
print(node["Resources"]["CPU"], "CPUs and", round(node["Resources"]["memory"] / 1e9, 1), "GB")
shutdown()
"""
HUNGRY = """
from infra.errors import OutOfMemoryError
from infra.ray_pool import run_on_ray, shutdown
from tests.integration.test_ray_in_containers import take_memory
try:
    run_on_ray(take_memory, timeout_s=120)
except OutOfMemoryError as error:
    print("told:", error)
shutdown()
"""


def take_memory() -> None:
    """Takes 4 GB, a little at a time, and holds them."""
    held = []
    for _ in range(80):
        held.append(b"x" * 50_000_000)
        time.sleep(0.1)
    time.sleep(60)


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """Groups that leave whoever is in them one and a half CPUs and 4 GB."""
    base = Path("/sys/fs/cgroup")
    limits = {"cpu.max": "150000 100000", "cpu.cfs_quota_us": "150000"}
    limits |= {"memory.max": "4000000000", "memory.limit_in_bytes": "4000000000"}
    made = []
    try:
        for controller in [""] if (base / "cgroup.controllers").exists() else ["cpu", "memory"]:
            made.append(base / controller / f"modnet-test-{os.getpid()}")
            made[-1].mkdir()
        files = [folder / name for folder in made for name in limits if (folder / name).exists()]
        if len(files) < 2:
            pytest.skip("no group of one's own limits CPU and memory here")
        for file in files:
            file.write_text(limits[file.name])
        yield made
    except OSError as error:
        pytest.skip(f"groups of one's own are not allowed here: {error}")
    finally:
        for folder in made:
            for _ in range(100):
                with suppress(OSError):  # until its last process is gone
                    folder.rmdir()
                    break
                time.sleep(0.1)


def _run_in(groups: list[Path], code: str, *, as_container: bool) -> subprocess.CompletedProcess[str]:
    """Runs Python in groups; a container has its own where a service finds those of the whole machine."""
    enter = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in groups)
    if as_container:
        enter += "".join(f"mount --bind {folder} {folder.parent} && " for folder in groups)
    command = ["unshare", "--mount", "sh", "-c", f'{enter} exec "$@"', "sh", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("as_container", [True, False], ids=["container", "service"])
def test_a_local_ray_has_what_its_own_group_may_have(groups: list[Path], as_container: bool) -> None:
    done = _run_in(groups, LIMITED, as_container=as_container)
    assert done.stdout == "1.0 CPUs and 3.7 GB\n", done.stderr


@pytest.mark.slow
def test_run_on_ray_says_that_a_worker_was_killed_for_memory(groups: list[Path]) -> None:
    done = _run_in(groups, HUNGRY, as_container=True)
    assert "told: take_memory: its Ray worker was killed for memory" in done.stdout, done.stdout + done.stderr


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
