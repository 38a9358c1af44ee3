"""What the machine is and how it stands while a model is measured on it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from infra.device.documents.latency_report import Condition
from infra.device.measuring.control_groups import cpu_quota, groups


def machine_conditions(root: Path = Path("/")) -> dict[str, Condition]:
    """The conditions that can be read on this machine; one that cannot be read is absent, never guessed.

    Every name ends in its unit: text, count, bytes, khz, celsius, processes, pages or seconds. Counters and seconds
    rise since the machine or the process started: what they rose by between two readings says what happened there.

    Args:
        root: where `proc` and `sys` stand.
    """
    cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
    own = os.times()
    found: dict[str, Condition | None] = {
        "os_text": platform.platform(),
        "machine_text": platform.machine(),
        "python_text": platform.python_version(),
        "board_model_text": _text(root / "proc/device-tree/model"),
        "cpu_model_text": _field(root / "proc/cpuinfo", "model name"),
        "logical_cores_count": os.cpu_count(),
        "usable_cores_count": len(os.sched_getaffinity(0)),
        "cpu_quota_count": cpu_quota(root),
        "memory_total_bytes": _kibibytes(root, "MemTotal"),
        "memory_available_bytes": _kibibytes(root, "MemAvailable"),
        "cpu_governor_text": _text(cpu / "scaling_governor"),
        "cpu_frequency_driver_text": _text(cpu / "scaling_driver"),
        "cpu_frequency_limit_khz": _integer(cpu / "scaling_max_freq"),
        "cpu_throttles_count": _throttles(root),
        "board_throttled_text": _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled"),
        "temperature_celsius": _hottest_celsius(root),
        "uptime_seconds": _uptime(root),
        "process_cpu_seconds": own.user + own.system,
        "load_average_1min_processes": _load_average(root),
        "power_supply_text": _power_supply(root),
        **_frequencies(root),
        **_cpu_times(root),
        **_group_throttling(root),
        **_swapping(root),
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


def _uptime(root: Path) -> float | None:
    uptime = re.match(r"\d{1,12}\.\d+", _text(root / "proc/uptime") or "")
    return float(uptime.group()) if uptime else None


def _frequencies(root: Path) -> dict[str, float | None]:
    """Of all CPUs now: an idle one goes slowly."""
    found = [_integer(path) for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    khz = [one for one in found if one is not None]
    if not khz:
        return {}
    return {
        "cpu_frequency_slowest_khz": min(khz),
        "cpu_frequency_mean_khz": sum(khz) / len(khz),
        "cpu_frequency_fastest_khz": max(khz),
    }


def _throttles(root: Path) -> int | None:
    """How often CPUs and their packages slowed down for the heat, since the machine started; Intel's alone say so."""
    counters = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [count for count in map(_integer, counters) if count is not None]
    return sum(counts) if counts else None


def _cpu_times(root: Path) -> dict[str, float | None]:
    """Seconds of all CPUs together: at work for anybody here, and taken away by other guests of the same host."""
    line = re.match(r"cpu +((?:\d{1,18} ){7}\d{1,18})", _text(root / "proc/stat") or "")
    if not line:
        return {}
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.group(1).split(" "))
    per_second = os.sysconf("SC_CLK_TCK")
    return {
        "cpu_busy_seconds": (user + nice + system + irq + softirq) / per_second,
        "cpu_stolen_seconds": steal / per_second,
    }


def _swapping(root: Path) -> dict[str, int | None]:
    """Pages that came from and went to the swap space, since the machine started."""
    return {f"swap_{way}_pages": _integer_field(root / "proc/vmstat", f"pswp{way}") for way in ("in", "out")}


def _integer_field(path: Path, name: str) -> int | None:
    """The value of the first `name value` line."""
    try:
        line = re.search(rf"^{name} (\d{{1,18}})$", path.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(line.group(1)) if line else None


def _group_throttling(root: Path) -> dict[str, float | None]:
    """How often, and how long, the quota of a group stopped this process or its neighbours in the group."""
    found = [folder / "cpu.stat" for folder in groups("cpu", root)]
    counts = [_integer_field(group, "nr_throttled") for group in found]
    if all(count is None for count in counts):
        return {}
    # version 2 has microseconds, version 1 nanoseconds
    seconds = [
        (_integer_field(group, "throttled_usec") or 0) / 1e6 + (_integer_field(group, "throttled_time") or 0) / 1e9
        for group in found
    ]
    return {"group_throttled_count": sum(count or 0 for count in counts), "group_throttled_seconds": sum(seconds)}


def _hottest_celsius(root: Path) -> float | None:
    """Of all thermal zones, and of CPUs that have their sensors elsewhere, as AMD's."""
    sensors = [zone / "temp" for zone in (root / "sys/class/thermal").glob("thermal_zone*")]
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if _text(chip / "name") in ("coretemp", "k10temp"):
            sensors += chip.glob("temp*_input")
    readings = [millidegrees / 1000 for millidegrees in map(_integer, sensors) if millidegrees is not None]
    return max(readings, default=None)


def _load_average(root: Path) -> float | None:
    load = re.match(r"\d{1,9}\.\d+", _text(root / "proc/loadavg") or "")
    return float(load.group()) if load else None


def _power_supply(root: Path) -> str | None:
    """`mains` or `battery`; None on a machine that does not know."""
    found = (root / "sys/class/power_supply").glob("*")
    supplies = [supply for supply in found if _text(supply / "scope") != "Device"]  # that of a mouse says nothing here
    online = [_integer(supply / "online") for supply in supplies if _text(supply / "type") in ("Mains", "USB")]
    if 1 in online:
        return "mains"
    return "battery" if any(_text(supply / "type") == "Battery" for supply in supplies) else None
