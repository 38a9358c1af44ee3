from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.device.measuring.control_groups import memory_limit
from infra.device.measuring.machine import machine_conditions

UNITS = ("text", "count", "bytes", "khz", "celsius", "processes", "pages", "seconds")
MACHINE = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 2.0GHz\n\nprocessor\t: 1\nmodel name\t: Other\n",
    "proc/meminfo": "MemTotal:        2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n",
    "proc/loadavg": "0.25 0.10 0.05 1/200 4242\n",
    "proc/device-tree/model": "Example Board\0",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "proc/stat": "cpu  4523 100 535 90000 33774 7 13 239 55 0\ncpu0 2113 0 2 9 1 0 1 1 0 0\nintr 1 2\n",
    "proc/uptime": "38022.91 60000.10\n",
    "proc/vmstat": "nr_free_pages 5\npswpin 12\npswpout 34\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "cpufreq-dt\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1800000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "600000\n",
    "sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq": "900000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "5\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_max_time_ms": "900\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/thermal/thermal_zone0/temp": "41500\n",
    "sys/class/thermal/thermal_zone1/temp": "52250\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
}
READ_FROM_FILES = {
    "cpu_model_text": "Example CPU @ 2.0GHz",
    "memory_total_bytes": 2048 * 1024,
    "memory_available_bytes": 1024 * 1024,
    "load_average_1min_processes": 0.25,
    "board_model_text": "Example Board",
    "cpu_governor_text": "powersave",
    "cpu_frequency_driver_text": "cpufreq-dt",
    "cpu_frequency_limit_khz": 1800000,
    "cpu_frequency_slowest_khz": 600000,
    "cpu_frequency_mean_khz": 1000000,
    "cpu_frequency_fastest_khz": 1500000,
    "cpu_throttles_count": 12,
    "board_throttled_text": "50005",
    "uptime_seconds": 38022.91,
    "cpu_busy_seconds": (4523 + 100 + 535 + 7 + 13) / os.sysconf("SC_CLK_TCK"),
    "cpu_stolen_seconds": 239 / os.sysconf("SC_CLK_TCK"),
    "swap_in_pages": 12,
    "swap_out_pages": 34,
    "temperature_celsius": 52.25,
    "power_supply_text": "battery",
}


def _write_machine(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_machine_conditions_reads_what_the_machine_says(tmp_path: Path) -> None:
    _write_machine(tmp_path, MACHINE)
    conditions = machine_conditions(tmp_path)
    assert {name: conditions[name] for name in READ_FROM_FILES} == READ_FROM_FILES


def test_machine_conditions_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    assert not set(machine_conditions(tmp_path)) & set(READ_FROM_FILES)


def test_machine_conditions_leaves_out_what_makes_no_sense(tmp_path: Path) -> None:
    _write_machine(tmp_path, dict.fromkeys(MACHINE, "\x00garbage \xff 12 kB"))
    found = set(machine_conditions(tmp_path)) & set(READ_FROM_FILES)
    assert found <= {"board_model_text", "cpu_governor_text", "cpu_frequency_driver_text", "board_throttled_text"}


def test_machine_conditions_shortens_what_a_report_could_not_hold(tmp_path: Path) -> None:
    _write_machine(tmp_path, {"proc/cpuinfo": "model name : " + 5000 * "x", "proc/device-tree/model": 5000 * "x"})
    conditions = machine_conditions(tmp_path)
    assert conditions["cpu_model_text"] == conditions["board_model_text"] == 200 * "x"


def test_machine_conditions_says_mains_when_it_is_plugged_in(tmp_path: Path) -> None:
    _write_machine(tmp_path, {**MACHINE, "sys/class/power_supply/AC/online": "1\n"})
    assert machine_conditions(tmp_path)["power_supply_text"] == "mains"


def test_machine_conditions_names_end_in_their_unit() -> None:
    assert [name for name in machine_conditions() if name.rpartition("_")[2] not in UNITS] == []


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/system.slice/agent.service\n",
                "sys/fs/cgroup/system.slice/agent.service/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/cpu.max": "max 100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "3:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/cpu.max": "1 100000\n",
            },
            0.25,
        ),
        ({"proc/self/cgroup": "2:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
        ({"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "nonsense\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
    ],
    ids=["container", "service", "version 1", "no limit of version 1", "no limit", "nonsense"],
)
def test_machine_conditions_say_how_many_cpus_a_container_or_a_service_may_use(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    _write_machine(tmp_path, files)
    assert machine_conditions(tmp_path).get("cpu_quota_count") == quota


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        (
            {
                "proc/self/cgroup": "0::/system.slice/a.service\n",
                "sys/fs/cgroup/system.slice/a.service/memory.max": "max\n",
                "sys/fs/cgroup/system.slice/memory.max": "4000000000\n",
                "proc/meminfo": "MemTotal: 8000000 kB\n",
            },
            4_000_000_000,
        ),
        (
            {
                "proc/self/cgroup": "3:memory:/docker/1\n2:cpu:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
            },
            2_000_000_000,
        ),
        (
            {
                "proc/self/cgroup": "3:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "proc/meminfo": "MemTotal: 8000000 kB\n",
            },
            None,
        ),
        ({}, None),
    ],
    ids=["service", "container of version 1", "no limit of version 1", "no groups"],
)
def test_memory_limit_is_that_of_the_narrowest_group(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    _write_machine(tmp_path, files)
    assert memory_limit(tmp_path) == limit


@pytest.mark.parametrize(
    ("files", "count", "seconds"),
    [
        (
            {
                "proc/self/cgroup": "0::/system.slice/agent.service\n",
                "sys/fs/cgroup/system.slice/agent.service/cpu.stat": "nr_throttled 2\nthrottled_usec 1500\n",
                "sys/fs/cgroup/system.slice/cpu.stat": "nr_periods 7\nnr_throttled 1\nthrottled_usec 500000\n",
                "sys/fs/cgroup/cpu.stat": "usage_usec 9\n",
            },
            3,
            0.5015,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu,cpuacct:/docker/1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 7\nnr_throttled 4\nthrottled_time 2500000000\n",
            },
            4,
            2.5,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.stat": "usage_usec 9\n"}, None, None),
        ({}, None, None),
    ],
    ids=["service", "version 1", "no limit", "no groups"],
)
def test_machine_conditions_say_how_long_a_quota_stopped_the_process(
    tmp_path: Path, files: dict[str, str], count: int | None, seconds: float | None
) -> None:
    _write_machine(tmp_path, files)
    conditions = machine_conditions(tmp_path)
    assert conditions.get("group_throttled_count") == count
    assert conditions.get("group_throttled_seconds") == (None if seconds is None else pytest.approx(seconds))


def test_machine_conditions_take_the_sensors_of_cpus_and_of_no_disk(tmp_path: Path) -> None:
    sensors = {"hwmon0/name": "nvme\n", "hwmon0/temp1_input": "70000\n", "hwmon1/name": "k10temp\n"}
    _write_machine(tmp_path, {f"sys/class/hwmon/{name}": text for name, text in sensors.items()})
    assert "temperature_celsius" not in machine_conditions(tmp_path)
    _write_machine(tmp_path, {"sys/class/hwmon/hwmon1/temp1_input": "48125\n"})
    assert machine_conditions(tmp_path)["temperature_celsius"] == 48.125


def test_the_process_says_its_own_cpu_time() -> None:
    """Until then others have taken what is busy and not its own, so it must not count less than it takes."""
    before = machine_conditions()
    while os.times().user + os.times().system < float(before["process_cpu_seconds"]) + 0.3:
        sum(range(10_000))
    after = machine_conditions()
    rises = {name: float(after[name]) - float(before[name]) for name in ("process_cpu_seconds", "cpu_busy_seconds")}
    assert rises["process_cpu_seconds"] >= 0.29
    assert rises["cpu_busy_seconds"] >= 0.2
