"""What the machine is and how it stands while a model is measured on it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from infra.device.documents.latency_report import Condition


def machine_conditions(root: Path = Path("/")) -> dict[str, Condition]:
    """The conditions that can be read on this machine; one that cannot be read is absent, never guessed.

    Every name ends in its unit: text, count, bytes, khz, celsius or processes.

    Args:
        root: where `proc` and `sys` stand.
    """
    cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
    found: dict[str, Condition | None] = {
        "os_text": platform.platform(),
        "machine_text": platform.machine(),
        "python_text": platform.python_version(),
        "board_model_text": _text(root / "proc/device-tree/model"),
        "cpu_model_text": _field(root / "proc/cpuinfo", "model name"),
        "logical_cores_count": os.cpu_count(),
        "usable_cores_count": len(os.sched_getaffinity(0)),
        "cpu_quota_count": _cpu_quota(root),
        "memory_total_bytes": _kibibytes(root, "MemTotal"),
        "memory_available_bytes": _kibibytes(root, "MemAvailable"),
        "cpu_governor_text": _text(cpu / "scaling_governor"),
        "cpu_frequency_khz": _integer(cpu / "scaling_cur_freq"),
        "cpu_frequency_limit_khz": _integer(cpu / "scaling_max_freq"),
        "temperature_celsius": _hottest_celsius(root),
        "load_average_1min_processes": _load_average(root),
        "power_supply_text": _power_supply(root),
    }
    return {name: value for name, value in found.items() if value is not None}


def _text(path: Path) -> str | None:
    """A file's first 200 characters without white space and NUL around them; None when it is missing or empty."""
    try:
        with open(path, errors="replace") as file:
            return file.read(200).strip(" \t\n\0") or None
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and re.fullmatch(r"-?\d{1,18}", text) else None


def _field(path: Path, name: str) -> str | None:
    """The first 200 characters of the value of the first `name : value` line."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return None
    line = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return line.group(1).strip()[:200] if line else None


def _kibibytes(root: Path, name: str) -> int | None:
    size = re.fullmatch(r"(\d{1,15}) kB", _field(root / "proc/meminfo", name) or "")
    return 1024 * int(size.group(1)) if size else None


def _cpu_quota(root: Path) -> float | None:
    """How many CPUs the process may keep busy, as a container or a service sets it; None when it may all.

    Runtimes count cores and not this, so that a limited device is slow in a way that no other condition shows.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:  # `0::/path` of version 2, `4:cpu,cpuacct:/path` of version 1
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / controllers
        group = mounted / path.strip("/")
        # A limit holds for all groups inside. Within a container, the own group may stand where it is mounted.
        for folder in (group, *group.parents):
            quotas.append(_group_quota(folder))
            if folder == mounted:
                break
    return min((quota for quota in quotas if quota is not None), default=None)


def _group_quota(folder: Path) -> float | None:
    limit = (_text(folder / "cpu.max") or "").split()  # version 2: microseconds and the period they are for
    if not limit:
        limit = [_text(folder / name) or "" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    if len(limit) != 2 or not all(re.fullmatch(r"\d{1,15}", one) for one in limit) or int(limit[1]) == 0:
        return None  # `max`, or -1
    return int(limit[0]) / int(limit[1])


def _hottest_celsius(root: Path) -> float | None:
    zones = (_integer(zone / "temp") for zone in (root / "sys/class/thermal").glob("thermal_zone*"))
    readings = [millidegrees / 1000 for millidegrees in zones if millidegrees is not None]
    return max(readings, default=None)


def _load_average(root: Path) -> float | None:
    load = re.match(r"\d{1,9}\.\d+", _text(root / "proc/loadavg") or "")
    return float(load.group()) if load else None


def _power_supply(root: Path) -> str | None:
    """`mains` or `battery`; None on a machine that does not know."""
    supplies = list((root / "sys/class/power_supply").glob("*"))
    online = [_integer(supply / "online") for supply in supplies if _text(supply / "type") in ("Mains", "USB")]
    if 1 in online:
        return "mains"
    return "battery" if any(_text(supply / "type") == "Battery" for supply in supplies) else None
