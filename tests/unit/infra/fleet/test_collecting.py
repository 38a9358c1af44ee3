from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infra.device.documents.latency_report import Comparison, LatencyReport
from infra.device.stores.folder_store import FolderStore
from infra.fleet import collecting, rows
from infra.fleet.collecting import collect
from infra.fleet.rows import KEY, Collected, collected, keep
from tests.unit.infra.fleet.counting import CountingStore

MakeReport = Callable[..., LatencyReport]
VERSION_1 = Path(__file__).parents[1] / "device/documents/version_1"
LATE = "20261122T063001.000000Z"


def put(store: FolderStore, *reports: LatencyReport) -> None:
    for report in reports:
        store.put(report.key(), report.to_json())


def test_a_row_says_what_its_report_says(store: FolderStore, make_report: MakeReport) -> None:
    comparison = Comparison("ba9876543210", 5, 0.9, 0.85, 0.95)
    report = make_report(comparison=comparison, doubts=("it throttled",) * 19 + ("x" * 2000,) * 30)
    put(store, report)
    collect(store)
    (row,) = collected(store)
    assert row == Collected(
        device="kitchen-pi",
        target="cpu-fp32",
        release_id="0123456789ab",
        runtime="openvino 2026.4.1",
        started_at="20261122T063000.000000Z",
        status="measured",
        reason=None,
        p50_ms=2.0,
        p50_low=report.intervals_ms["p50_low"],
        p50_high=report.intervals_ms["p50_high"],
        precision="f32",
        comparison=comparison,
        doubts=("it throttled",) * 19 + ("x" * 300,),
        key=report.key(),
    )
    assert not row.is_trustworthy
    assert replace(row, doubts=()).is_trustworthy


def test_each_report_is_read_once(store: FolderStore, make_report: MakeReport) -> None:
    counting = CountingStore(store)
    put(store, make_report(), make_report(device="attic-pi"))
    assert collect(counting).new_count == 2
    put(store, make_report(device="cellar-pi"))
    counting.read.clear()
    assert collect(counting).new_count == 1
    assert [key for key in counting.read if key.startswith("reports/")] == [make_report(device="cellar-pi").key()]
    before = store.get(KEY)
    counting.read.clear()
    look = collect(counting)
    assert (look.new_count, len(look.rows), counting.read) == (0, 3, [KEY])
    assert store.get(KEY) == before


def test_reports_of_0_1_0_are_read_where_they_lie(store: FolderStore) -> None:
    for name in ("report.json", "failed_report.json"):
        report = LatencyReport.from_json((VERSION_1 / name).read_bytes())
        store.put(report.earlier_key(), (VERSION_1 / name).read_bytes())
    look = collect(store)
    assert (look.new_count, look.moved) == (2, ())
    found = {row.status: row for row in look.rows.values() if row is not None}
    assert found["measured"].p50_ms is not None
    assert found["measured"].p50_low is None
    assert not found["measured"].is_trustworthy
    assert found["failed"].reason


def test_each_question_counts_once(store: FolderStore, make_report: MakeReport, make_failed_report: MakeReport) -> None:
    """Also where a clock is years ahead, and where one report lies under both keys."""
    first, ahead = make_report(), make_report(started_at="20991122T063000.000000Z")
    put(store, make_failed_report(started_at=LATE), first, ahead)
    store.put(first.earlier_key(), first.to_json())
    assert collect(store).new_count == 4
    assert [row.started_at for row in collected(store)] == [first.started_at]


def test_a_report_that_was_removed_loses_its_row(store: FolderStore, make_report: MakeReport) -> None:
    kept, removed = make_report(), make_report(device="attic-pi")
    put(store, kept, removed)
    collect(store)
    store.delete(removed.key())
    assert list(collect(store).rows) == [kept.key()]
    assert [row.key for row in collected(store)] == [kept.key()]


@pytest.mark.parametrize("kept", [b"", b"no gzip", None], ids=["empty", "foreign", "cut off"])
def test_a_damaged_state_is_made_anew(kept: bytes | None, store: FolderStore, make_report: MakeReport) -> None:
    put(store, make_report(), make_report(device="attic-pi"))
    collect(store)
    whole = store.get(KEY)
    store.put(KEY, whole[:-9] if kept is None else kept)
    assert collected(store) == []
    look = collect(store)
    assert look.new_count == 2
    assert look.damage is not None
    assert KEY in look.damage
    assert store.get(KEY) == whole
    assert collect(store).damage is None


def test_a_state_of_another_form_is_made_anew(
    store: FolderStore, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, make_report())
    with monkeypatch.context() as yesterday:
        yesterday.setattr(rows, "FORM", {"collected": 0, "reports": 1})
        collect(store)
    look = collect(store)
    assert look.new_count == 1
    assert look.damage is not None
    assert "got form {'collected': 0" in look.damage
    assert len(collected(store)) == 1


def test_what_is_no_report_is_put_aside_with_the_reason(
    store: FolderStore, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, liar = make_report(), make_report(device="liar")
    put(store, good)
    folder = "reports/liar/0123456789ab"
    hostile = {
        f"{folder}/cpu-20261122T063000.000001Z.json": good.to_json()[:50],
        f"{folder}/cpu-20261122T063000.000002Z.json": good.to_json(),  # another's
        f"{folder}/cpu-20261122T063000.000003Z.json": b" " * (9 << 20),
        f"{folder}/cpu-20261122T063000.000004Z.json": b"[" * (8 << 20),
        f"{folder}/cpu-20261122T063000.000005Z.json": liar.to_json().replace(b"Example", rb"\ud800"),
        "reports/кухня/0123456789ab/cpu-20261122T063000.000006Z.json": good.to_json(),
        "reports/readme.txt": b"hello",
        "reports/liar/readme.txt": b"hello",
    }
    for key, data in hostile.items():
        store.put(key, data)
    counting = CountingStore(store)
    look = collect(counting)
    assert (look.new_count, look.left) == (1, ())
    assert sorted(one.key for one in look.moved) == sorted(hostile)
    assert store.list("reports/") == [good.key()]
    for key, data in hostile.items():
        assert store.get(f"quarantine/{key}") == data
        reason = json.loads(store.get(key.replace("reports/", "quarantine/reasons/", 1)))
        assert reason["key"] == key
        assert reason["got"]
        assert "version 1 to 2" in reason["wanted"]
        assert reason["at"].startswith("2")
    assert "reports/readme.txt" not in counting.read
    again = collect(store)
    assert (again.new_count, again.moved) == (0, ())


def test_what_cannot_be_put_aside_stops_nothing(store: FolderStore, make_report: MakeReport) -> None:
    odd = store.folder / "reports" / "kitchen-pi" / ".hidden" / "x.json"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(b"{}")
    put(store, make_report())
    look = collect(store)
    assert look.new_count == 1
    assert [one.key for one in look.left] == ["reports/kitchen-pi/.hidden/x.json"]
    assert odd.exists()


def test_a_report_of_a_later_version_is_left_for_later_code(
    store: FolderStore, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = make_report()
    store.put(later.key(), later.to_json().replace(b'"schema_version":2', b'"schema_version":3'))
    assert collect(store).moved == ()
    assert collected(store) == []
    counting = CountingStore(store)
    collect(counting)
    assert counting.read == [KEY]
    put(store, later)  # as later code reads it, whose form is another
    monkeypatch.setattr(rows, "FORM", {**rows.FORM, "reports": 3})
    assert collect(store).new_count == 1
    assert len(collected(store)) == 1


def test_two_collectors_at_once_lose_no_row(
    store: FolderStore, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps what it has read after every report."""
    monkeypatch.setattr(collecting, "KEPT_AFTER", 1)
    reports = [make_report(device=f"device-{number:02d}") for number in range(24)]
    put(store, *reports[:12])
    store.put("reports/liar/0123456789ab/cpu-20261122T063000.000001Z.json", b"{}")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            collect(store)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    put(store, *reports[12:])
    for thread in threads:
        thread.join()
    assert failures == []
    collect(store)
    assert {row.key for row in collected(store)} == {report.key() for report in reports}
    assert store.list("quarantine/reports/") != []


def test_a_second_writer_adds_to_what_the_first_has_kept(store: FolderStore, make_report: MakeReport) -> None:
    one, other = (Collected.of(report, report.key()) for report in (make_report(), make_report(device="attic-pi")))
    keep(store, {one.key: one})
    keep(store, {other.key: other})
    assert collected(store) == [other, one]
    assert list(keep(store, {}, gone=[one.key])) == [other.key]
    assert collected(store) == [other]


def test_who_is_killed_keeps_what_was_kept(
    store: FolderStore, make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "KEPT_AFTER", 2)
    reports = [make_report(device=f"device-{number}") for number in range(5)]
    put(store, *reports)
    failing = CountingStore(store, fails_after=3)
    with pytest.raises(TimeoutError):
        collect(failing)
    assert len(collected(store)) == 2
    assert collect(store).new_count == 3
    assert len(collected(store)) == 5
