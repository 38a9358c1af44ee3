from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.documents.latency_report import Comparison
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.stores.folder_store import FolderStore
from infra.fleet.findings import (
    ALIKE,
    FASTER,
    SLOWER,
    Running,
    doubted,
    read_running,
    rejected,
    releases_in_order,
    silent,
    verdict,
)
from infra.fleet.rows import Collected
from infra.publishing.releases import promote
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import three_releases

OLD, NEW = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROW = Collected(
    device="kitchen",
    target="cpu-int8",
    release_id=OLD,
    runtime="openvino",
    started_at="20261129T120000.000000Z",
    status="measured",
    reason=None,
    p50_ms=10.0,
    p50_low=9.0,
    p50_high=11.0,
    precision="i8",
    comparison=None,
    doubts=(),
    key="",
)


def pointer(release_id: str = NEW, **changes: object) -> Pointer:
    named = {"target": "cpu-int8", "manifest_sha256": "0" * 64, "replaces": OLD, "moved_at": "20261129T000000.000000Z"}
    return Pointer(release_id=release_id, **{**named, **changes})


@pytest.mark.parametrize(
    ("low", "ratio", "high", "wanted"),
    [(1.03, 1.05, 1.07, SLOWER), (1.01, 1.05, 1.07, ALIKE), (0.9, 0.95, 0.99, FASTER), (0.9, 0.95, 1.0, ALIKE)],
)
def test_verdict_needs_the_whole_interval(low: float, ratio: float, high: float, wanted: str) -> None:
    assert verdict(replace(ROW, comparison=Comparison(OLD, 9, ratio, low, high)), 0.02) == wanted
    assert verdict(ROW, 0.02) is None


def test_rejected_has_failed_and_wrong_newest_first() -> None:
    failed = replace(ROW, status="failed", reason="no such layer", p50_ms=None)
    wrong = replace(failed, status="wrong", started_at="20261129T130000.000000Z")
    assert rejected([failed, ROW, wrong]) == [wrong, failed]


def test_doubted_has_doubts_and_clocks_that_are_ahead() -> None:
    throttled, ahead = replace(ROW, doubts=("it throttled",)), replace(ROW, started_at="20310101T000000.000000Z")
    assert doubted([ROW, throttled, ahead], NOW) == [
        (ahead, ("its clock is ahead of the collector's",)),
        (throttled, ("it throttled",)),
    ]


def test_silent_is_who_has_not_reported_on_what_it_is_to_run() -> None:
    running, day = Running({"cpu-int8": pointer()}, {}), timedelta(hours=24)
    (one,) = silent([ROW], running, {}, NOW, day)
    assert (one.device, one.target, one.release_id, one.last) == ("kitchen", "cpu-int8", NEW, ROW)
    assert silent([ROW], running, {}, NOW - timedelta(hours=13), day) == []
    for status in ("measured", "failed"):
        assert silent([ROW, replace(ROW, release_id=NEW, status=status)], running, {}, NOW, day) == []
    assert silent([replace(ROW, target="cpu-fp32")], running, {}, NOW, day) == []  # nothing runs there


def test_silent_has_those_that_have_a_key_and_never_reported() -> None:
    enrolled = {"kitchen": NOW - timedelta(days=9), "new": NOW - timedelta(hours=1), "lost": NOW - timedelta(days=2)}
    (one,) = silent([ROW], Running({}, {}), enrolled, NOW, timedelta(hours=24))
    assert (one.device, one.target, one.since) == ("lost", None, NOW - timedelta(days=2))


def test_wanted_is_by_share_and_pin() -> None:
    half = pointer(share=0.5)
    of_half = {half.is_for(f"device-{number}") for number in range(20)}
    assert of_half == {True, False}
    running = Running({"cpu-int8": half}, {("cpu-int8", "pinned"): pointer("cccccccccccc")})
    for number in range(20):
        device = f"device-{number}"
        wanted = running.wanted("cpu-int8", device)
        assert wanted is not None
        assert wanted[0] == (NEW if half.is_for(device) else OLD)
    assert running.wanted("cpu-int8", "pinned") == ("cccccccccccc", datetime(2026, 11, 29, tzinfo=UTC))
    assert running.wanted("ncs2-fp16", "pinned") is None


def test_one_wrong_clock_turns_no_releases_round() -> None:
    rows = [
        replace(ROW, device=f"device-{number}", release_id=release_id, started_at=f"2026112{day}T000000.000000Z")
        for day, release_id in ((1, NEW), (2, OLD))
        for number in range(3)
    ]
    rows[0] = replace(rows[0], started_at="20990101T000000.000000Z")
    assert releases_in_order(rows) == [NEW, OLD]


def test_read_running_leaves_out_what_is_damaged(store: FolderStore, tmp_path: Path) -> None:
    first, second, _ = three_releases(store, tmp_path)
    for target in ("cpu-fp32", "cpu-int8"):
        promote(publisher_of(store), target, first)
    promote(publisher_of(store), "cpu-int8", second)
    pinned = Pointer(target="cpu-int8", release_id=first, manifest_sha256="0" * 64)
    sign(store, pin_path("cpu-int8", "kitchen"), pinned.to_json())
    sign(store, pointer_path("cpu-fp32"), b"{}")
    running = read_running(trust_of(store))
    assert {target: one.release_id for target, one in running.pointers.items()} == {"cpu-int8": second}
    assert running.pins == {("cpu-int8", "kitchen"): pinned}
