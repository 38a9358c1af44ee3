"""How large an image may be: what a machine's memory holds, so that a header that promises too much is refused."""

import os
from functools import cache
from pathlib import Path

from modnet.errors import DatasetError

LEAST_LIMIT = 2**26  # pixels, as 9248 × 6936 of a phone: below it, nothing is refused on any machine
BYTES_PER_PIXEL = 64  # 46 were measured where an image gets another background, which takes the most
_CGROUPS = ("memory.max", "memory/memory.limit_in_bytes")  # version 2, version 1


@cache
def pixel_limit(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Most pixels of an image: as many as the memory of this machine, or of its container, holds, or `LEAST_LIMIT`."""
    return max(LEAST_LIMIT, _memory_bytes(cgroups) // BYTES_PER_PIXEL)


def too_many_pixels(path: Path, height: int, width: int, max_pixels: int) -> DatasetError:
    """What to say of an image beyond the limit."""
    return DatasetError(
        f"image {path}: {width} × {height} pixels, at most {max_pixels} in all are allowed: one for every "
        f"{BYTES_PER_PIXEL} bytes of this machine's memory; make the image smaller, or use a machine with more memory"
    )


def _memory_bytes(cgroups: Path) -> int:
    """0 where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _CGROUPS:
        try:
            limit = (cgroups / name).read_text().strip()
        except OSError:
            continue
        if limit.isdecimal():  # otherwise "max"
            memory = min(memory, int(limit))
    return memory
