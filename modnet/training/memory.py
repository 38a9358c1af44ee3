"""Freed memory is kept for the next training step."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Parameters of glibc's mallopt. Once one is set, glibc no longer raises the thresholds by itself: what it is left with
# afterwards is what it arrives at in a process that frees large tensors.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_USUAL_TRIM_THRESHOLD, _USUAL_MMAP_MAX = 64 * 2**20, 65_536
_NEVER_TRIM = 2**31 - 1


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """A block in which what is freed stays with the process; at its end it goes back to the machine.

    Every step frees and takes the same tensors. glibc gives blocks of megabytes back at once, so that the kernel must
    find and clear their pages again: that took a quarter of a step on the CPU. Other C libraries are left alone.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
        libc.malloc_trim(0)
