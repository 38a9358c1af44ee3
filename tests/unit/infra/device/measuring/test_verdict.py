from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.device.documents.latency_report import GoldenCheck, LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.measuring import verdict
from infra.device.measuring.verdict import RULES, doubts

ROOT = Path(__file__).resolve().parents[5]
MakeReport = Callable[..., LatencyReport]

# An idle machine with everything that a machine can say: the readings before and after five seconds.
BEFORE: dict[str, Any] = {
    "logical_cores_count": 4,
    "inference_threads_count": 4,
    "cpu_quota_count": 4.0,
    "cpu_governor_text": "powersave",
    "cpu_frequency_driver_text": "intel_pstate",
    "cpu_frequency_limit_khz": 4_000_000,
    "cpu_frequency_fastest_khz": 800_000,
    "cpu_throttles_count": 7,
    "board_throttled_text": "0",
    "temperature_celsius": 41.5,
    "memory_total_bytes": 8 << 30,
    "memory_available_bytes": 4 << 30,
    "power_supply_text": "mains",
    "uptime_seconds": 1000.0,
    "cpu_busy_seconds": 300.0,
    "cpu_stolen_seconds": 2.0,
    "process_cpu_seconds": 1.5,
    "group_throttled_count": 3,
    "group_throttled_seconds": 0.25,
    "swap_in_pages": 9,
    "swap_out_pages": 9,
}
AFTER: dict[str, Any] = {
    **BEFORE,
    "cpu_frequency_fastest_khz": 3_000_000,
    "temperature_celsius": 68.0,
    "uptime_seconds": 1005.0,
    "cpu_busy_seconds": 319.0,
    "cpu_stolen_seconds": 2.1,
    "process_cpu_seconds": 19.5,
}
SAMPLES = tuple(10.0 + 0.1 * (number % 7) for number in range(50))


@pytest.fixture
def make_measured(make_report: MakeReport) -> MakeReport:
    def make(
        samples_ms: tuple[float, ...] = SAMPLES,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        **changes: Any,
    ) -> LatencyReport:
        idle: dict[str, Any] = {
            "golden": GoldenCheck(images_count=3, worst_difference=1e-6, tolerance=1e-4),
            "warm_up_ms": (80.0, *SAMPLES[:30]),
            "samples_ms": samples_ms,
            "summary": summarise(samples_ms),
            "intervals_ms": intervals(samples_ms),
            "conditions": {**BEFORE, **(before or {})},
            "conditions_after": {**AFTER, **(after or {})},
        }
        return make_report(**{**idle, **changes})

    return make


def test_an_idle_machine_leaves_no_doubt(make_measured: MakeReport) -> None:
    assert doubts(make_measured()) == ()


def test_what_a_machine_does_not_say_is_no_doubt(make_measured: MakeReport) -> None:
    assert doubts(make_measured(conditions={}, conditions_after={})) == ()


CASES = [
    ("numerics", {"golden": None}, "without golden images"),
    ("precision", {"precision": "bf16"}, "got bf16, wanted f32"),
    ("precision", {"precision": None}, "got a runtime that does not say which, wanted f32"),
    ("samples", {"samples_ms": SAMPLES[:19]}, "got 19, wanted at least 20"),
    ("warm-up", {"warm_up_ms": SAMPLES[:19]}, "got 19 runs that were not stable"),
    ("warm-up", {"warm_up_ms": (*SAMPLES[:20], *(10 * [11.0]))}, "wanted the last two medians of 10 runs within 1.05"),
    ("drift", {"samples_ms": tuple(10.0 + 0.05 * number for number in range(50))}, "1.12 of the first, wanted 0.91 to"),
    ("drift", {"samples_ms": tuple(13.0 - 0.06 * number for number in range(50))}, "0.88 of the first"),
    ("interval", {"samples_ms": tuple(10.0 + 2 * (number % 2) for number in range(50))}, "10.00 to 12.00 ms"),
    ("spread", {"samples_ms": tuple(10.0 + 10 * (number % 5 == 0) for number in range(50))}, "p90 is 2.00 of p50"),
    ("throttled", {"after": {"cpu_throttles_count": 9}}, "slowed itself down 2 times"),
    ("throttled", {"before": {"board_throttled_text": "1"}}, "says 0x1 before and 0x0 after"),
    ("throttled", {"after": {"board_throttled_text": "0x50000"}}, "says 0x0 before and 0x50000 after"),
    ("throttled", {"after": {"cpu_frequency_limit_khz": 3_800_000}}, "sank by 200 MHz"),
    ("temperature", {"after": {"temperature_celsius": 85.0}}, "got 85 degrees Celsius, wanted below 85"),
    ("temperature", {"before": {"temperature_celsius": 91.0}}, "got 91 degrees"),
    ("clock", {"before": {"cpu_frequency_driver_text": "cpufreq-dt"}}, "the governor powersave of cpufreq-dt keeps"),
    ("clock", {"after": {"cpu_frequency_fastest_khz": 1_900_000}}, "runs at 1900 MHz of 4000, wanted at least 50%"),
    (
        "other load",
        {"after": {"cpu_busy_seconds": 320.5}},
        "others took 13% of the time of 4 cores, wanted at most 10%",
    ),
    ("other load", {"after": {"cpu_stolen_seconds": 4.0}}, "others took 15% of the time"),
    ("quota", {"before": {"cpu_quota_count": 1.5}}, "got 1.5 CPUs for 4 threads"),
    ("group", {"after": {"group_throttled_count": 5, "group_throttled_seconds": 0.5}}, "2 times for 0.25 s"),
    ("memory", {"after": {"memory_available_bytes": 400 << 20}}, "got 400 MiB available of 8192, wanted at least 5%"),
    ("memory", {"after": {"swap_out_pages": 109}}, "100 pages went to the swap space"),
    ("power", {"before": {"power_supply_text": "battery"}}, "got battery, wanted mains"),
]


@pytest.mark.parametrize(("name", "changes", "words"), CASES, ids=[f"{case[0]}: {case[2][:30]}" for case in CASES])
def test_each_rule_has_its_doubt_and_no_other(
    make_measured: MakeReport, name: str, changes: dict[str, Any], words: str
) -> None:
    (only,) = doubts(make_measured(**changes))
    assert only.startswith(f"{name}: ")
    assert words in only


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "ncs2-fp16", "precision": "f16"},
        {"before": {"board_throttled_text": "50000"}, "after": {"board_throttled_text": "50000"}},  # before this
        {"before": {"board_throttled_text": "hot"}},
        {"after": {"uptime_seconds": 1000.4}},  # too short to tell
        {"before": {"swap_in_pages": 0}},
        {"before": {"cpu_governor_text": "ondemand", "cpu_frequency_driver_text": "cpufreq-dt"}},
    ],
)
def test_what_is_as_it_may_be_is_no_doubt(make_measured: MakeReport, changes: dict[str, Any]) -> None:
    assert doubts(make_measured(**changes)) == ()


def test_every_rule_has_a_case_and_stands_in_the_table_and_in_the_document() -> None:
    assert {name for name, _, _ in CASES} == set(RULES)
    table = re.findall(r"^    (\S+(?: \S+)?) {2,}\S", verdict.__doc__ or "", re.MULTILINE)
    assert table[1:] == list(RULES)
    section = (ROOT / "docs" / "devices.md").read_text().partition("## What a report says")[2]
    assert re.findall(r"^\| `([a-z -]+)` \|", section, re.MULTILINE) == list(RULES)


def test_a_report_with_its_doubts_is_read_back(make_measured: MakeReport) -> None:
    all_at_once = doubts(make_measured(samples_ms=(1.0, 2.0, 30.0), warm_up_ms=(), precision="bf16", golden=None))
    assert [doubt.partition(":")[0] for doubt in all_at_once] == [
        "numerics",
        "precision",
        "samples",
        "warm-up",
        "drift",
        "interval",
        "spread",
    ]
    report = make_measured(doubts=all_at_once)
    assert LatencyReport.from_json(report.to_json()) == report
    assert not report.is_trustworthy
