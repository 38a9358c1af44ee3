"""What a container or a service lets this process have of its machine: Linux's control groups, of both versions.

Runtimes count cores, and memory, of the whole machine. A limited one is slow, or is killed, in a way that nothing else
shows.
"""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path("/")


def cpu_quota(root: Path = _ROOT) -> float | None:
    """How many CPUs the process may keep busy; None when it may all."""
    return min(filter(None, map(_quota, groups("cpu", root))), default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """How many bytes the process may have, together with its neighbours in the group; None when there is no limit."""
    limits = map(_bytes, groups("memory", root))
    total = _number(root / "proc/meminfo", r"MemTotal:\s+(\d{1,15}) kB")
    # Version 1 has a number of 64 bits where there is no limit.
    limits_below = [limit for limit in limits if limit is not None and (total is None or limit < 1024 * total)]
    return min(limits_below, default=None)


def groups(controller: str, root: Path = _ROOT) -> list[Path]:
    """Folders of the groups that limit `cpu` or `memory` of this process: a limit holds for all groups inside.

    Args:
        controller: as the kernel names it.
        root: where `proc` and `sys` stand.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:  # `0::/path` of version 2, `4:cpu,cpuacct:/path` of version 1
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / controllers
        group = mounted / path.strip("/")
        # Within a container, the own group may stand where it is mounted.
        for folder in (group, *group.parents):
            found.append(folder)
            if folder == mounted:
                break
    return found


def _quota(group: Path) -> float | None:
    limit = _text(group / "cpu.max").split()  # version 2: microseconds and the period they are for
    if not limit:
        limit = [_text(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    if len(limit) != 2 or not all(re.fullmatch(r"\d{1,15}", one) for one in limit) or int(limit[1]) == 0:
        return None  # `max`, or -1
    return int(limit[0]) / int(limit[1])


def _bytes(group: Path) -> int | None:
    of_version_2 = _number(group / "memory.max", r"(\d{1,20})\s*")  # `max` where there is none
    return of_version_2 or _number(group / "memory.limit_in_bytes", r"(\d{1,20})\s*")


def _number(path: Path, pattern: str) -> int | None:
    found = re.match(pattern, _text(path))
    return int(found.group(1)) if found else None


def _text(path: Path) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read(200).strip()
    except OSError:
        return ""
