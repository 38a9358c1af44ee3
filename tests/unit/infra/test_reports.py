from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from infra.errors import ContractError
from infra.folder_store import FolderStore
from infra.reports import (
    LatencyReport,
    LatencySummary,
    percentile,
    percentile_note,
    read_reports,
    report_key,
    summarise,
)

MakeReport = Callable[..., LatencyReport]


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.01, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.9, 4.0), (1.0, 4.0)]
)
def test_percentile_is_the_nearest_rank(share: float, wanted: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == wanted


@pytest.mark.parametrize(("samples", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_percentile_refuses_empty_samples_and_shares_outside(samples: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="wanted at least 1 sample"):
        percentile(samples, share)


def test_summarise_gives_hand_computed_statistics() -> None:
    summary = summarise([1.0, 3.0, 100.0, 4.0, 8.0])
    assert summary == LatencySummary(
        mean_ms=116 / 5, p50_ms=4.0, p90_ms=100.0, p99_ms=100.0, drift_ratio=((4 + 8) / 2) / ((1 + 3 + 100) / 3)
    )


def test_summarise_has_no_drift_when_there_is_one_sample() -> None:
    assert summarise([5.0]) == LatencySummary(mean_ms=5.0, p50_ms=5.0, p90_ms=5.0, p99_ms=5.0, drift_ratio=1.0)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100])
def test_percentile_note_says_which_percentiles_are_only_the_largest_sample(count: int) -> None:
    samples = [float(number) for number in range(count)]
    largest = [name for name, share in (("p90", 0.9), ("p99", 0.99)) if percentile(samples, share) == max(samples)]
    note = percentile_note(count) or ""
    assert [name for name in ("p90", "p99") if name in note.partition(":")[0]] == largest


def test_from_json_gives_an_equal_report_when_measured(make_report: MakeReport) -> None:
    assert LatencyReport.from_json(make_report().to_json()) == make_report()


def test_from_json_gives_an_equal_report_when_failed(make_failed_report: MakeReport) -> None:
    assert LatencyReport.from_json(make_failed_report().to_json()) == make_failed_report()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
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


def test_report_key_says_release_device_target_and_time() -> None:
    key = report_key("0123456789ab", "pi", "cpu-fp32", "20261122T063000.000000Z")
    assert key == "reports/0123456789ab/pi/cpu-fp32-20261122T063000.000000Z.json"


@pytest.mark.parametrize("position", range(4))
def test_report_key_refuses_an_unsafe_part(position: int) -> None:
    parts = ["0123456789ab", "pi", "cpu-fp32", "20261122T063000.000000Z"]
    parts[position] = "../x"
    with pytest.raises(ContractError):
        report_key(*parts)


def test_read_reports_keeps_the_valid_and_explains_the_refused(
    store: FolderStore, make_report: MakeReport, make_failed_report: MakeReport
) -> None:
    good = make_report()
    failed = make_failed_report(started_at="20261122T063001.000000Z")
    for report in (good, failed):
        store.put(report.key(), report.to_json())
    liar = make_report(device="liar")
    hostile = {
        "reports/0123456789ab/liar/cut.json": good.to_json()[:50],
        "reports/0123456789ab/liar/other-place.json": good.to_json(),
        "reports/0123456789ab/liar/huge.json": b" " * (9 << 20),
        liar.key(): liar.to_json().replace(b"Example", rb"\ud800"),
    }
    for key, data in hostile.items():
        store.put(key, data)
    other = make_report(release_id="ba9876543210")
    store.put(other.key(), other.to_json())

    reports, refused = read_reports(store, "0123456789ab")

    assert reports == [good, failed]
    assert [report.key for report in refused] == sorted(hostile)
    assert all(report.reason for report in refused)


def test_read_reports_gives_nothing_when_no_device_reported(store: FolderStore) -> None:
    assert read_reports(store, "0123456789ab") == ([], [])
