"""What is freed within the block is there again for the next tensor, and goes back to the machine afterwards."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's page faults")

PROGRAM = """
import resource, sys
from contextlib import nullcontext
import torch
from modnet.training.memory import freed_memory_kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def step():  # 256 MiB in all, of which every tensor lives until the end
    return [torch.ones(size << 20) for size in (24, 16, 12, 8, 4)]

with freed_memory_kept() if sys.argv[1] == "kept" else nullcontext():
    for _ in range(3):
        step()
    before = faults()
    for _ in range(4):
        step()
    inside = faults() - before
    inside_bytes = resident()
print(inside, inside_bytes - resident())
"""


def _counted(which: str) -> tuple[int, int]:
    """Page faults of four steps, and bytes that leave with the block."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, which], capture_output=True, text=True, check=True)
    faults, returned = done.stdout.split()
    return int(faults), int(returned)


def test_freed_memory_kept_needs_no_new_pages_and_gives_them_back_at_its_end() -> None:
    pages = 4 * 2**28 // resource.getpagesize()
    kept, returned = _counted("kept")
    otherwise, _ = _counted("not kept")
    assert otherwise > pages / 2  # what glibc does by itself, or the block would be pointless
    assert kept < otherwise / 4
    assert returned > 2**25
