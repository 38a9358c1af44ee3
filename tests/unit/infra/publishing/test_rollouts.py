"""What becomes of a rollout, by reports of devices in its share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.documents.latency_report import Comparison, LatencyReport
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.errors import NotStoredError
from infra.device.stores.folder_store import FolderStore
from infra.publishing.pointers import pin
from infra.publishing.releases import promote
from infra.publishing.roll_backs import stop
from infra.publishing.rollouts import Rules, rollout_rows, verdict
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import three_releases

MOVED = datetime(2026, 11, 30, 6, 0, tzinfo=UTC)
POINTER = Pointer("cpu-fp32", "0123456789ab", "0" * 64, "fedcba987654", 0.5, "20261130T060000.000000Z")
RULES = Rules(timedelta(hours=24), 1.1, 2)
DURING, AFTER = MOVED + timedelta(hours=1), MOVED + timedelta(hours=24)
INSIDE = [name for name in (f"device-{number}" for number in range(40)) if POINTER.is_for(name)]
OUTSIDE = [name for name in (f"device-{number}" for number in range(40)) if not POINTER.is_for(name)]
Make = Callable[..., LatencyReport]


def compared(ratio: float, with_release: str = "fedcba987654") -> Comparison:
    return Comparison(with_release, 20, ratio, ratio * 0.95, ratio * 1.05)


def test_all_devices_get_it_when_its_time_is_over_and_enough_report_well(make_report: Make) -> None:
    reports = [make_report(device=name, comparison=compared(1.1)) for name in INSIDE[:2]]
    early, late = verdict(POINTER, reports, [], RULES, DURING), verdict(POINTER, reports, [], RULES, AFTER)
    assert (early.step, late.step) == ("wait", "finish")
    assert early.words == "all devices get it at 2026-12-01 06:00 UTC at the earliest; 2 trustworthy reports, wanted 2"
    assert "2 trustworthy reports, wanted 2; its 24 hours are over" in late.words


@pytest.mark.parametrize(
    "changes",
    [
        {"device": OUTSIDE[0]},
        {"target": "cpu-int8"},
        {"release_id": "fedcba987654"},
        {"doubts": ("the machine was busy",)},
        {"device": INSIDE[0], "runtime": "openvino 2022.3.2"},
    ],
    ids=["outside the share", "another target", "another release", "in doubt", "the same device twice"],
)
def test_a_report_that_does_not_count_lets_it_wait(make_report: Make, changes: dict[str, object]) -> None:
    reports = [make_report(device=INSIDE[0]), make_report(**{"device": INSIDE[1], **changes})]
    found = verdict(POINTER, reports, [], RULES, AFTER)
    assert found.step == "wait"
    assert "is over since 2026-12-01 06:00 UTC, and it waits for devices; 1 trustworthy report, wanted 2" in found.words


@pytest.mark.parametrize("status", ["failed", "wrong"])
def test_a_device_that_cannot_run_it_or_computes_something_else_stops_it_at_once(
    make_report: Make, make_failed_report: Make, status: str
) -> None:
    reports = [make_report(device=name) for name in INSIDE[:3]]
    bad = make_failed_report(device=INSIDE[3], status=status, reason="no such\x1b[2J operation")
    found = verdict(POINTER, [*reports, bad], [], RULES, AFTER)
    says = {"failed": "could not run it", "wrong": "computes something else"}[status]
    assert found.step == "stop"
    assert found.words == f"device {INSIDE[3]} (openvino 2026.4.1) {says}: no such\\x1b[2J operation"


def test_what_a_failure_does_not_say(make_failed_report: Make) -> None:
    """Of a device outside the share, one that is pinned, another release, and one that fails at the former as well."""
    bad = make_failed_report(device=INSIDE[0])
    former = replace(bad, release_id="fedcba987654")
    elsewhere = [replace(bad, device=OUTSIDE[0]), replace(bad, target="cpu-int8"), former]
    assert verdict(POINTER, elsewhere, [], RULES, DURING).step == "wait"
    assert verdict(POINTER, [bad], [INSIDE[0]], RULES, DURING).step == "wait"
    assert verdict(POINTER, [bad, former], [], RULES, DURING).step == "wait"
    assert verdict(POINTER, [bad, replace(former, runtime="openvino 2021.4.2")], [], RULES, DURING).step == "stop"
    assert verdict(POINTER, [bad], [], RULES, DURING).step == "stop"


def test_a_device_that_is_surely_slower_than_the_limit_stops_it(make_report: Make) -> None:
    def step(comparison: Comparison, doubts: tuple[str, ...] = ()) -> str:
        return verdict(
            POINTER, [make_report(device=INSIDE[0], comparison=comparison, doubts=doubts)], [], RULES, DURING
        ).step

    assert step(compared(1.2)) == step(compared(1.2), ("the machine was busy",)) == "stop"
    assert step(compared(1.15)) == "wait"  # 1.09 to 1.21: perhaps it is not
    assert step(compared(1.2, with_release="aaaaaaaaaaaa")) == "wait"
    words = verdict(POINTER, [make_report(device=INSIDE[0], comparison=compared(1.2))], [], RULES, DURING).words
    assert "takes 1.20 times as long as with release fedcba987654 (1.14 to 1.26; the limit is 1.1)" in words


def test_a_reason_names_three_devices_and_can_be_kept(make_failed_report: Make) -> None:
    """Also where devices say as much as they may, in characters that are escaped."""
    reports = [make_failed_report(device=name, reason="\u202e" * 2000, runtime="\u202e" * 2000) for name in INSIDE[:5]]
    words = verdict(POINTER, reports, [], RULES, DURING).words
    assert words.endswith("; and 2 more")
    assert sum(name in words for name in INSIDE[:5]) == 3
    assert len(words) < 2000


def test_rows_say_what_targets_run_and_who_is_pinned(store: FolderStore, tmp_path: Path, make_report: Make) -> None:
    first, second, third = three_releases(store, tmp_path)
    publisher = publisher_of(store)
    with pytest.raises(NotStoredError, match="nothing was ever signed"):
        rollout_rows(trust_of(FolderStore(tmp_path / "empty")))
    assert rollout_rows(trust_of(store)) == []
    for target in ("cpu-fp32", "cpu-int8"):
        promote(publisher, target, first)
    pointer = promote(publisher, "cpu-fp32", second, share=0.2)
    pin(publisher, "cpu-int8", "kitchen", third)
    moved, whole = rollout_rows(trust_of(store))
    assert (moved.target, moved.release_id, moved.share, moved.former) == ("cpu-fp32", second, 0.2, first)
    assert (moved.since, moved.pins) == (pointer.moved_at, {})
    assert moved.state == f"20 % of the devices run it, the others {first}"
    assert (whole.state, whole.pins) == ("all devices run it", {"kitchen": third})
    (told, _) = rollout_rows(trust_of(store), RULES)
    assert told.state.startswith(f"{moved.state}; all devices get it at 20")
    stop(publisher, "cpu-fp32", second, "device attic could not run it: no", "the flow rollout")
    (stopped, _) = rollout_rows(trust_of(store))
    assert (stopped.release_id, stopped.share) == (first, 1)
    assert f"; the rollout of release {second} was stopped at 20" in stopped.state
    assert stopped.state.endswith("by the flow rollout: device attic could not run it: no")


def test_rows_say_of_a_damaged_pointer_that_it_is_one(store: FolderStore, tmp_path: Path) -> None:
    first = three_releases(store, tmp_path)[0]
    pin(publisher_of(store), "cpu-fp32", "kitchen", first)
    (only,) = rollout_rows(trust_of(store))
    assert (only.release_id, only.state) == (None, "only pinned devices run a release")
    sign(store, pointer_path("cpu-fp32"), b"{")
    sign(store, pin_path("cpu-fp32", "kitchen"), b"{")
    (row,) = rollout_rows(trust_of(store))
    assert row.release_id is None
    assert row.state.startswith("a damaged pointer: pointer: not JSON")
    assert row.pins["kitchen"].startswith("a damaged pointer: pointer: not JSON")
