"""What devices say of a release on trial: who counts, who is left out, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.device.documents.latency_report import Comparison
from infra.device.documents.trials import TrialRelease, Trials
from infra.fleet.rows import Collected
from infra.fleet.trials import OnDevices, missing, on_devices

OLD, NEW, OTHER = "a" * 12, "b" * 12, "c" * 12
TARGET = "cpu-int8"
ROW = Collected(
    device="kitchen",
    target=TARGET,
    release_id=OLD,
    runtime="openvino",
    started_at="20261129T120000.000000Z",
    status="measured",
    reason=None,
    p50_ms=10.0,
    p50_low=9.8,
    p50_high=10.2,
    precision="i8",
    comparison=None,
    doubts=(),
    key="",
)


def both(device: str, ratio: float = 0.8, spread: float = 0.02, **changes: Any) -> list[Collected]:
    """A device's rows on both releases, which it has compared in turns."""
    compared = Comparison(OLD, 20, ratio, ratio - spread, ratio + spread)
    old = replace(ROW, device=device)
    return [old, replace(old, **{"release_id": NEW, "comparison": compared, **changes})]


def apart(device: str, p50_ms: float, **changes: Any) -> list[Collected]:
    """Rows without a comparison: medians with 2 % of interval."""
    measured = {"p50_ms": p50_ms, "p50_low": 0.98 * p50_ms, "p50_high": 1.02 * p50_ms}
    return both(device, **{**measured, "comparison": None, **changes})


def broken(device: str, status: str = "failed", **changes: Any) -> list[Collected]:
    nothing = {"p50_ms": None, "p50_low": None, "p50_high": None, "comparison": None}
    return both(device, **{"status": status, "reason": "no such layer", **nothing, **changes})


def said(*rows: Sequence[Collected]) -> OnDevices:
    return on_devices([row for some in rows for row in some], TARGET, OLD, NEW)


def test_the_ratio_is_the_geometric_mean_over_devices() -> None:
    found = said(both("kitchen", 0.64), both("desk", 0.81, 0.01))
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(0.72)
    assert found.ratio.low == pytest.approx((0.62 * 0.80) ** 0.5)
    assert found.ratio.high == pytest.approx((0.66 * 0.82) ** 0.5)
    assert (found.devices, found.left_out, found.objection) == (("desk", "kitchen"), (), None)


def test_a_device_counts_by_a_comparison_also_where_its_latency_is_in_doubt() -> None:
    found = said(both("kitchen", doubts=("throttled",)))
    assert found.devices == ("kitchen",)


def test_a_device_counts_by_two_trustworthy_reports_and_their_furthest_ends() -> None:
    found = said(apart("kitchen", 8.0))
    assert found.ratio is not None
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((0.8, 7.84 / 10.2, 8.16 / 9.8))


def test_a_comparison_with_another_release_says_nothing_of_the_one_that_runs() -> None:
    """Also where both reports are to be trusted: they may be weeks apart."""
    other = Comparison("c" * 12, 20, 0.5, 0.49, 0.51)
    found = said(both("kitchen", comparison=other, p50_ms=5.0, p50_low=4.9, p50_high=5.1))
    words = f"kitchen: has compared it with release {'c' * 12}, and not with the one that runs"
    assert (found.ratio, found.left_out) == (None, (words,))


def test_of_several_reports_the_one_beside_the_release_that_runs_counts() -> None:
    old, new = both("kitchen", 0.8)
    before = replace(new, comparison=Comparison("c" * 12, 20, 0.5, 0.49, 0.51), started_at="20261101T120000.000000Z")
    for rows in ([before, old, new], [old, new, before]):
        found = said(rows)
        assert found.ratio is not None
        assert found.ratio.value == pytest.approx(0.8)
    assert missing([old, before], TRIALS, (), SOON, DAY) == {"kitchen": [NEW, OTHER]}


def test_a_device_whose_report_is_not_to_be_trusted_is_named_and_left_out() -> None:
    found = said(both("kitchen"), apart("desk", 30.0, doubts=("throttled",)))
    assert found.devices == ("kitchen",)
    assert found.left_out == ("desk: not to be trusted: throttled",)


def test_where_nobody_says_anything_that_counts_there_is_no_ratio() -> None:
    found = said(apart("desk", 30.0, doubts=("throttled",)))
    assert found.objection == "no device says anything that counts: desk: not to be trusted: throttled"
    assert said([ROW]).objection == "no device reported"


def test_numbers_that_no_machine_has_are_not_to_be_trusted() -> None:
    found = said(both("liar", comparison=Comparison(OLD, 1, 1e-300, 1e-300, 1e9)))
    assert found.objection == "no device says anything that counts: liar: not to be trusted: 1e-300 to 1e+09 times"


@pytest.mark.parametrize("status", ["failed", "wrong"])
def test_a_device_that_fails_is_left_out_where_most_do_not(status: str) -> None:
    found = said(both("kitchen"), both("desk"), broken("attic", status))
    assert found.devices == ("desk", "kitchen")
    (left,) = found.left_out
    assert left.startswith("attic: ")
    assert left.endswith(": no such layer")


def test_a_device_that_fails_at_both_says_nothing() -> None:
    rows = [replace(row, status="failed", reason="broken") for row in broken("attic")]
    found = said(both("kitchen"), rows)
    assert found.devices == ("kitchen",)
    assert found.left_out == (f"attic: fails at release {OLD} as well",)


def test_all_failing_is_an_objection() -> None:
    found = said(broken("kitchen"), broken("attic", "wrong"))
    assert found.ratio is None
    assert found.objection == (
        "attic: computes something else: no such layer; kitchen: could not run it: no such layer"
    )


def test_who_disagrees_with_most_is_named_and_left_out() -> None:
    found = said(both("kitchen"), both("desk"), both("attic", 1.3))
    assert (found.devices, found.left_out) == (
        ("desk", "kitchen"),
        ("attic: slower, 1.30 times (1.28 to 1.32)",),
    )


@pytest.mark.parametrize("other", [both("attic", 1.3), both("attic", 1.0), broken("attic")], ids=["slow", "alike", "f"])
def test_without_a_majority_there_is_no_ratio_and_both_are_named(other: list[Collected]) -> None:
    found = said(both("kitchen"), other)
    assert found.ratio is None
    assert found.objection is not None
    assert found.objection.startswith("devices disagree: attic: ")
    assert found.objection.endswith("; kitchen: faster, 0.80 times (0.78 to 0.82)")


def test_runtimes_of_one_device_are_one_voice() -> None:
    second = [replace(row, runtime="other") for row in both("kitchen", 0.9)]
    found = said(both("kitchen", 0.4), second, both("desk", 1.3), both("attic", 1.3))
    assert (found.devices, len(found.left_out)) == (("attic", "desk"), 1)
    alone = said(both("kitchen", 0.4), second)
    assert alone.ratio is not None
    assert alone.ratio.value == pytest.approx(0.6)


def test_clocks_that_are_days_off_change_nothing() -> None:
    rows = both("kitchen") + both("desk", 0.9) + broken("attic")
    times = ("20200101T000000.000000Z", "20310101T000000.000000Z")
    shifted = [replace(row, started_at=times[number % 2]) for number, row in enumerate(rows)]
    assert said(rows) == said(shifted) == said(shifted[::-1])


TRIALS = Trials(
    target=TARGET,
    releases=(TrialRelease(NEW, "0" * 64), TrialRelease(OTHER, "0" * 64)),
    against=OLD,
    decide_by="20261203T000000.000000Z",
    published_at="20261130T000000.000000Z",
)
SOON, LATE, DAY = datetime(2026, 11, 30, 12, tzinfo=UTC), datetime(2026, 12, 1, 12, tzinfo=UTC), timedelta(hours=24)


def test_awaited_is_who_has_reported_on_what_runs() -> None:
    newcomer = replace(ROW, device="new", release_id=NEW)
    elsewhere = replace(ROW, device="stick", target="ncs2-fp16")
    rows = [*both("kitchen"), replace(ROW, device="desk"), newcomer, elsewhere]
    assert missing(rows, TRIALS, (), SOON, DAY) == {"desk": [NEW, OTHER], "kitchen": [OTHER]}
    assert missing(rows, TRIALS, {"desk"}, SOON, DAY) == {"kitchen": [OTHER]}
    rows += [replace(ROW, device="kitchen", release_id=OTHER)]
    assert missing(rows, TRIALS, {"desk"}, SOON, DAY) == {}
    assert missing([newcomer, elsewhere], TRIALS, (), SOON, DAY) is None


def test_who_has_reported_on_no_trial_for_a_day_is_silent() -> None:
    rows = [*both("kitchen"), replace(ROW, device="desk")]
    assert missing(rows, TRIALS, (), LATE, DAY) == {"kitchen": [OTHER]}
    assert missing([replace(ROW, device="desk")], TRIALS, (), LATE, DAY) is None
