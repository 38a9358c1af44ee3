from __future__ import annotations

from collections.abc import Callable

import pytest

from infra.device.documents.latency_report import MAX_SENT_BYTES, LatencyReport
from infra.device.documents.latency_summary import summarise
from infra.device.errors import ContractError
from infra.device.reports import counted_once, read_report, read_reports
from infra.device.stores.folder_store import FolderStore

MakeReport = Callable[..., LatencyReport]


def test_read_reports_keeps_the_valid_and_explains_the_refused(
    store: FolderStore, make_report: MakeReport, make_failed_report: MakeReport
) -> None:
    good = make_report()
    failed = make_failed_report(started_at="20261122T063001.000000Z")
    earlier = make_report(device="attic-pi")
    for report in (good, failed):
        store.put(report.key(), report.to_json())
    store.put(earlier.earlier_key(), earlier.to_json())  # as versions before 0.2.0 did
    liar = make_report(device="liar")
    hostile = {
        "reports/liar/0123456789ab/cut.json": good.to_json()[:50],
        "reports/liar/0123456789ab/other-place.json": good.to_json(),
        "reports/0123456789ab/liar/huge.json": b" " * (9 << 20),
        liar.key(): liar.to_json().replace(b"Example", rb"\ud800"),
    }
    for key, data in hostile.items():
        store.put(key, data)
    other = make_report(release_id="ba9876543210")
    store.put(other.key(), other.to_json())

    reports, refused = read_reports(store, "0123456789ab")

    assert reports == [earlier, good, failed]
    assert [report.key for report in refused] == sorted(hostile)
    assert all(report.reason for report in refused)


def test_read_reports_gives_nothing_when_no_device_reported(store: FolderStore) -> None:
    assert read_reports(store, "0123456789ab") == ([], [])


def test_each_question_is_counted_once_by_what_was_measured_first(
    make_report: Callable[..., LatencyReport], make_failed_report: Callable[..., LatencyReport]
) -> None:
    times = [f"2026112{day}T063000.000000Z" for day in range(1, 6)]
    failed, first, again = (
        make_failed_report(started_at=times[0]),
        make_report(started_at=times[1]),
        make_report(started_at=times[2]),
    )
    other = make_report(started_at=times[3], device="attic-pi")
    twice = [make_failed_report(started_at=time, device="cellar-pi") for time in times[3:]]
    assert counted_once([failed, first, again, other, *twice]) == [first, other, twice[1]]


def test_a_large_report_of_an_earlier_version_is_read_and_other_large_json_is_refused_unparsed(
    store: FolderStore, make_report: MakeReport
) -> None:
    samples = tuple(float(number) for number in range(1, 300_001))
    large = make_report(samples_ms=samples, summary=summarise(samples), intervals_ms={}, schema_version=1)
    assert len(large.to_json()) > MAX_SENT_BYTES
    store.put(large.earlier_key(), large.to_json())
    assert read_report(store, large.earlier_key()) == large
    for bomb in (b"[" * (8 << 20), b"[" + b"[]," * 2_000_000 + b"[]]", b'{"a":"' + b'\\"' * 1_000_000 + b'"}'):
        store.put(large.key(), bomb)
        with pytest.raises(ContractError, match=r'of \[, \{ and ", wanted at most 10000'):
            read_report(store, large.key())
