from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from infra.device.documents.latency_report import Comparison, GoldenCheck, LatencyReport
from infra.device.documents.latency_summary import INTERVALS
from infra.device.errors import ContractError

MakeReport = Callable[..., LatencyReport]


def test_from_json_gives_an_equal_report_when_measured(make_report: MakeReport) -> None:
    assert LatencyReport.from_json(make_report().to_json()) == make_report()


def test_from_json_gives_an_equal_report_when_failed(make_failed_report: MakeReport) -> None:
    assert LatencyReport.from_json(make_failed_report().to_json()) == make_failed_report()


COMPARISON = {"release_id": "ba9876543210", "rounds_count": 9, "ratio": 1.1, "ratio_low": 1.0, "ratio_high": 1.2}


def test_a_report_with_all_that_is_known_of_a_latency_is_read_as_it_was_written(make_report: MakeReport) -> None:
    report = make_report(
        conditions_after={"temperature_celsius": 61.0},
        golden=GoldenCheck(images_count=3, worst_difference=1e-6, tolerance=1e-4),
        comparison=Comparison(**COMPARISON),
        doubts=("drift: the second half took 1.3 times as long as the first, wanted at most 1.1",),
    )
    assert LatencyReport.from_json(report.to_json()) == report
    assert (report.is_trustworthy, make_report().is_trustworthy) == (False, True)


def test_a_wrong_report_says_why_and_has_no_latency(make_failed_report: MakeReport) -> None:
    wrong = make_failed_report(status="wrong", golden=GoldenCheck(3, 0.2, 1e-4))
    assert LatencyReport.from_json(wrong.to_json()) == wrong
    with pytest.raises(ContractError, match="wanted none when the status is 'wrong'"):
        make_failed_report(status="wrong", doubts=("hot",))
    with pytest.raises(ContractError, match="version 1 does not know"):
        make_failed_report(status="wrong", schema_version=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 3),
        ("release_id", "../../targets"),
        ("target", "a/b"),
        ("device", ""),
        ("started_at", "yesterday"),
        ("status", "skipped"),
        ("reason", "none"),
        ("samples_ms", []),
        ("samples_ms", [1.0, 0.0]),
        ("samples_ms", [1.0, -1.0]),
        ("samples_ms", [1e308, 1e308]),
        ("warm_up_ms", [-1.0]),
        ("load_ms", None),
        ("load_ms", -1.0),
        ("input_shape", [0]),
        ("input_shape", []),
        ("summary", None),
        ("summary", {"mean_ms": 2.5}),
        ("summary", {"mean_ms": 2.4, "p50_ms": 2.0, "p90_ms": 4.0, "p99_ms": 4.0, "drift_ratio": 2 / 3}),
        ("summary", {"mean_ms": 2.5, "p50_ms": 2.0, "p90_ms": 3.0, "p99_ms": 4.0, "drift_ratio": 2 / 3}),
        ("conditions", {"hot_text": True}),
        ("conditions", {"nested": {}}),
        ("conditions", {"long_text": 2001 * "x"}),
        ("conditions", {2001 * "x": 1}),
        ("conditions", {f"{number}_count": 1 for number in range(101)}),
        ("runtime", 2001 * "x"),
        ("conditions_after", {"hot_text": True}),
        ("intervals_ms", {}),
        ("intervals_ms", {**dict.fromkeys(INTERVALS, 2.0), "p90_low": 3.0}),
        ("intervals_ms", {**dict.fromkeys(INTERVALS, 2.0), "p99_high": 4.5}),
        ("golden", {"images_count": 0, "worst_difference": 0.0, "tolerance": 0.1}),
        ("golden", {"images_count": 2, "worst_difference": -0.1, "tolerance": 0.1}),
        ("comparison", {**COMPARISON, "ratio_low": 1.2}),
        ("comparison", {**COMPARISON, "rounds_count": 0}),
        ("comparison", {**COMPARISON, "release_id": "latest"}),
        ("doubts", [1]),
        ("doubts", "hot"),
    ],
)
def test_from_json_refuses_a_measured_report_that_is_not_consistent(
    make_report: MakeReport, field: str, value: object
) -> None:
    members = {**json.loads(make_report().to_json()), field: value}
    with pytest.raises(ContractError, match=field.split("_")[0]):
        LatencyReport.from_json(json.dumps(members).encode())


@pytest.mark.parametrize(
    "changes", [{"reason": None}, {"reason": ""}, {"samples_ms": (1.0,)}, {"load_ms": 1.0}, {"warm_up_ms": (1.0,)}]
)
def test_latency_report_refuses_a_failed_report_without_reason_or_with_measurements(
    make_failed_report: MakeReport, changes: dict[str, Any]
) -> None:
    with pytest.raises(ContractError, match="report"):
        make_failed_report(**changes)


@pytest.mark.parametrize("spoilt", ["missing", "unknown"])
def test_from_json_refuses_missing_and_unknown_fields(make_report: MakeReport, spoilt: str) -> None:
    members = json.loads(make_report().to_json())
    if spoilt == "missing":
        del members["runtime"]
    else:
        members["surprise"] = 1
    with pytest.raises(ContractError, match=r"runtime|surprise"):
        LatencyReport.from_json(json.dumps(members).encode())


def test_key_says_release_device_target_and_time(make_report: MakeReport) -> None:
    report = make_report(
        release_id="0123456789ab", device="pi", target="cpu-fp32", started_at="20261122T063000.000000Z"
    )
    assert report.key() == "reports/pi/0123456789ab/cpu-fp32-20261122T063000.000000Z.json"


@pytest.mark.parametrize("part", ["release_id", "device", "target", "started_at"])
def test_a_report_refuses_a_part_that_is_unsafe_in_its_key(make_report: MakeReport, part: str) -> None:
    with pytest.raises(ContractError, match=part):
        make_report(**{part: "../x"})
