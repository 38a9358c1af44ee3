"""The flow decide on a folder store: what it promotes, keeps, waits for and writes down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from infra.device.documents.latency_report import Comparison, LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.documents.trials import trials_path
from infra.device.errors import NotStoredError
from infra.device.releases import read_current, read_trials
from infra.device.stores.folder_store import FolderStore
from infra.ingest.devices import DeviceRegistry
from infra.local_stack.environments import MARKER
from infra.publishing.pointers import pin
from infra.publishing.releases import promote
from infra.publishing.roll_backs import stop
from infra.publishing.trials import publish_trials
from modnet.configs import TrialConfig
from modnet.records import Challenge, Decision
from modnet.report.run_tables import Row
from tasks import decide
from tasks.stored import get_record, put_record
from tasks.stored_network import evidence_key
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import three_releases

TARGET = "cpu-int8"
FASTER, ALIKE, SLOWER = 0.8, 1.0, 1.3
Reported = Callable[..., None]
Put = Callable[..., None]


@pytest.fixture
def store(own_store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    monkeypatch.setattr(decide, "create_table_artifact", lambda *_, **__: None)
    with disable_run_logger():
        yield own_store


@pytest.fixture
def made(store: FolderStore, tmp_path: Path) -> list[str]:
    """The release that the target runs, and two more."""
    releases = three_releases(store, tmp_path)
    promote(publisher_of(store), TARGET, releases[0])
    return releases


@pytest.fixture
def put(store: FolderStore, made: list[str]) -> Put:
    """Puts releases on trial, with what the host said of each: as good as the champion, and as fast."""

    def publish(*numbers: int, hours: float = 24, target: str = TARGET, ratio: float = 1.0, high: float = 0.0) -> None:
        for number in numbers:
            challenge = Challenge(
                target=target,
                release_id=made[0],
                current_error=0.01,
                new_error=0.01,
                difference_low=-0.0001,
                difference_high=high,
                latency_ratio=ratio,
                low=ratio - 0.05,
                high=ratio + 0.05,
            )
            put_record(store, evidence_key(target, made[0], made[number]), challenge)
        names = [made[number] for number in numbers]
        decide_by = datetime.now(UTC) + timedelta(hours=hours)
        publish_trials(publisher_of(store), target, names, made[0], decide_by)

    return publish


@pytest.fixture
def reported(store: FolderStore, made: list[str]) -> Reported:
    """A function that stores the report of a device on a release, compared with the champion."""

    def report(device: str, number: int, ratio: float = 1.0, status: str = "measured", **changes: Any) -> None:
        samples = (9.9, 10.0, 10.1)
        compared = Comparison(made[0], 20, ratio, ratio * 0.98, ratio * 1.02) if number else None
        measured: dict[str, Any] = {
            "samples_ms": samples,
            "load_ms": 1.0,
            "input_shape": (1, 3, 480, 320),
            "summary": summarise(samples),
            "intervals_ms": intervals(samples),
            "comparison": compared,
        }
        named = {"started_at": "20261130T063000.000000Z"} | changes
        one = LatencyReport(
            release_id=made[number],
            target=TARGET,
            device=device,
            runtime="openvino 2026.4.1",
            status=status,
            conditions={},
            reason=None if status == "measured" else "no such layer",
            **(measured if status == "measured" else {}),
            **named,
        )
        store.put(one.key(), one.to_json())

    return report


def decided(share: float = 1.0, **config: float) -> list[Row]:
    return decide.decide_trials.fn(TrialConfig(**config), share)


def running(store: FolderStore) -> str:
    return read_current(trust_of(store), TARGET).release_id


def last_decision(store: FolderStore) -> Decision:
    (key,) = store.list(f"decisions/{TARGET}/")
    return get_record(store, key, Decision)


def is_on_trial(store: FolderStore) -> bool:
    try:
        read_trials(trust_of(store), TARGET)
    except NotStoredError:
        return False
    return True


def test_nothing_on_trial_is_nothing_to_do(store: FolderStore, made: list[str]) -> None:
    assert decided() == []
    assert store.list("decisions/") == []


def test_it_waits_for_an_awaited_device_and_then_promotes_what_is_faster(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1, 2)
    (row,) = decided()
    assert row["what happens"] == "it waits"
    assert row["why"].endswith(f"UTC for a device: none has reported on release {made[0]}")
    for device in ("kitchen", "desk"):
        reported(device, 0)
        reported(device, 1, FASTER)
    (row,) = decided()
    assert row["why"].endswith(f"UTC for desk ({made[2]}), kitchen ({made[2]})")
    assert is_on_trial(store)
    for device in ("kitchen", "desk"):
        reported(device, 2, ALIKE)
    (row,) = decided()
    assert row == {
        "target": TARGET,
        "what happens": "promoted",
        "why": f"release {made[1]} takes {TARGET}: 0.80 times the latency of {made[0]} on 2 devices (0.78 to 0.82), "
        "tune error +0.0 % (-1.0 to +0.0 %)",
    }
    assert running(store) == made[1]
    assert not is_on_trial(store)
    decision = last_decision(store)
    assert (decision.kind, decision.by, decision.before, decision.after, decision.words) == (
        *("promoted", "the flow decide", made[0], made[1]),
        row["why"],
    )
    first, second = decision.contenders
    assert (first.release_id, first.network_id, first.label) == (made[1], "c" * 12, "c" * 12)
    assert (first.latency_by, first.left_out, first.error) == ("devices desk, kitchen", (), 0.01)
    assert (second.release_id, second.latency_ratio) == (made[2], pytest.approx(1.0))
    assert decided() == []


@pytest.mark.parametrize("last", ["record_decision", "end_trials"])
def test_who_was_killed_after_the_promotion_is_finished_by_the_next_run(
    last: str, store: FolderStore, made: list[str], put: Put, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(1)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(decide, last, killed)
        with pytest.raises(KeyboardInterrupt):
            decided()
    assert (running(store), is_on_trial(store)) == (made[1], True)
    (row,) = decided()
    assert row["what happens"] == "promoted"
    decision = last_decision(store)  # the only one
    assert (decision.kind, decision.before, decision.after) == ("promoted", made[0], made[1])
    assert (running(store), is_on_trial(store)) == (made[1], False)


def test_the_winner_goes_to_a_share_of_the_devices(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    (row,) = decided(share=0.2)
    assert row["why"].endswith("; 20 % of its devices get it first")
    pointer = read_current(trust_of(store), TARGET)
    assert (pointer.release_id, pointer.replaces, pointer.share) == (made[1], made[0], 0.2)


def test_the_champion_stays_where_none_is_better(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1, high=0.0001)
    reported("kitchen", 0)
    reported("kitchen", 1, ALIKE)
    (row,) = decided()
    assert row["what happens"] == "kept"
    assert row["why"].startswith(f"release {made[0]} stays: {made[1]}: neither surely faster nor surely better: 1.00")
    assert (running(store), is_on_trial(store)) == (made[0], False)
    assert (last_decision(store).kind, last_decision(store).after) == ("kept", made[0])


def test_without_a_majority_the_champion_stays_and_both_are_named(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    for device, ratio in (("kitchen", FASTER), ("desk", SLOWER)):
        reported(device, 0)
        reported(device, 1, ratio)
    (row,) = decided()
    assert row["why"] == (
        f"release {made[0]} stays: {made[1]}: devices disagree: desk: slower, 1.30 times (1.27 to 1.33); "
        "kitchen: faster, 0.80 times (0.78 to 0.82)"
    )


def test_who_is_left_out_is_named_in_the_decision(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    for device in ("kitchen", "desk", "attic"):
        reported(device, 0)
        reported(device, 1, FASTER, "failed" if device == "attic" else "measured")
    decided()
    (contender,) = last_decision(store).contenders
    assert contender.left_out == ("attic: could not run it: no such layer",)
    assert running(store) == made[1]


def test_a_trial_that_fails_everywhere_is_refused(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1, ratio=0.5)
    reported("kitchen", 0)
    reported("kitchen", 1, status="wrong")
    (row,) = decided()
    assert row["why"] == f"release {made[0]} stays: {made[1]}: kitchen: computes something else: no such layer"


@pytest.mark.parametrize(("ratio", "kind"), [(0.5, "promoted"), (1.0, "kept")])
def test_where_no_device_has_reported_by_then_the_host_decides_and_that_is_said(
    store: FolderStore, made: list[str], put: Put, ratio: float, kind: str
) -> None:
    put(1, hours=-1, ratio=ratio)
    (row,) = decided()
    assert row["what happens"] == kind
    assert f"{ratio:.2f} times the latency of {made[0]} on the host, no device having reported (" in row["why"]
    (contender,) = last_decision(store).contenders
    assert contender.latency_by == "the host of the run, as no device has reported"


def test_once_a_device_has_reported_the_host_is_not_asked(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1, 2, hours=-1, ratio=0.5)
    reported("kitchen", 0)
    reported("kitchen", 1, SLOWER)
    (row,) = decided()
    assert row["what happens"] == "kept"
    assert row["why"].endswith(f"; {made[2]}: no device reported")


def test_the_time_is_over_whoever_is_missing(store: FolderStore, made: list[str], put: Put, reported: Reported) -> None:
    put(1, hours=-1)
    for device in ("kitchen", "desk"):
        reported(device, 0)
    reported("kitchen", 1, FASTER)
    decided()
    assert running(store) == made[1]
    assert last_decision(store).contenders[0].latency_by == "devices kitchen"


def test_a_silent_device_is_not_awaited(store: FolderStore, made: list[str], put: Put, reported: Reported) -> None:
    put(1)
    for device in ("kitchen", "desk"):
        reported(device, 0)
    reported("kitchen", 1, FASTER)
    assert decided()[0]["what happens"] == "it waits"
    assert decided(silent_after_h=1e-9)[0]["what happens"] == "promoted"


def test_clocks_of_devices_change_nothing(store: FolderStore, made: list[str], put: Put, reported: Reported) -> None:
    put(1)
    reported("kitchen", 0, started_at="20310101T000000.000000Z")
    reported("kitchen", 1, FASTER, started_at="20200101T000000.000000Z")
    assert decided()[0]["what happens"] == "promoted"


@pytest.mark.parametrize("how", ["pinned", "revoked"])
def test_pinned_and_revoked_devices_neither_count_nor_are_awaited(
    store: FolderStore,
    made: list[str],
    put: Put,
    reported: Reported,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(1)
    for device in ("kitchen", "desk"):
        reported(device, 0)
    reported("kitchen", 1, FASTER)
    reported("attic", 1, SLOWER)
    if how == "pinned":
        for device in ("desk", "attic"):
            pin(publisher_of(store), TARGET, device, made[2])
    else:
        monkeypatch.setenv(MARKER, str(tmp_path))
        registry = DeviceRegistry(tmp_path / "devices.json")
        for device in ("desk", "attic"):
            registry.add(device)
            registry.revoke(device)
    assert decided()[0]["what happens"] == "promoted"


def test_nothing_is_promoted_where_the_champion_has_changed_since(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    promote(publisher_of(store), TARGET, made[2])
    reported("kitchen", 1, FASTER)
    (row,) = decided()
    assert row["why"] == f"release {made[2]} stays: the trials were against {made[0]}, which {TARGET} ran then"
    assert (running(store), is_on_trial(store)) == (made[2], False)
    assert last_decision(store).before == last_decision(store).after == made[2]


def test_nothing_is_promoted_while_the_champion_is_on_its_way(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    promote(publisher_of(store), TARGET, made[2])
    promote(publisher_of(store), TARGET, made[0], share=0.5)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    (row,) = decided()
    assert row["what happens"] == "kept"
    assert f"{made[1]}: release {made[0]} is on 50 % of the devices since" in row["why"]


def test_what_was_stopped_before_is_not_promoted(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    promote(publisher_of(store), TARGET, made[1], share=0.5)
    stop(publisher_of(store), TARGET, made[1], "slower", "the flow rollout")
    put(1)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    (row,) = decided()
    assert f"{made[1]}: the rollout of release {made[1]} was stopped at 20" in row["why"]
    assert running(store) == made[0]


def test_a_winner_that_cannot_be_used_is_not_promoted(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    store.put(f"releases/{made[1]}/modnet.bin", b"content of day 9")
    (row,) = decided()
    assert row["why"].startswith(f"release {made[0]} stays: {made[1]} was chosen, and cannot be used: modnet.bin: got")
    assert not is_on_trial(store)


def test_whoever_moves_the_pointer_meanwhile_is_not_overruled(
    store: FolderStore, made: list[str], put: Put, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(1)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    choose = decide.choose

    def outrun(*args: Any) -> Any:
        promote(publisher_of(store), TARGET, made[2])
        return choose(*args)

    monkeypatch.setattr(decide, "choose", outrun)
    (row,) = decided()
    assert row["why"].startswith(f"somebody else was first: pointer of target '{TARGET}': leads to {made[2]} by now")
    assert (running(store), store.list("decisions/")) == (made[2], [])


def test_without_what_the_host_said_nothing_is_promoted(
    store: FolderStore, made: list[str], put: Put, reported: Reported
) -> None:
    put(1)
    store.delete(evidence_key(TARGET, made[0], made[1]))
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    assert decided()[0]["why"] == f"release {made[0]} stays: {made[1]}: nobody knows how much it errs"


def test_damaged_trials_are_ended(store: FolderStore, made: list[str]) -> None:
    sign(store, trials_path(TARGET), b"{}")
    (row,) = decided()
    assert row["why"].startswith(f"release {made[0]} stays: what is on trial is damaged: trials.schema_version")
    assert not is_on_trial(store)


def test_a_target_that_cannot_be_decided_fails_the_run_and_stops_no_other(
    store: FolderStore, made: list[str], put: Put, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(store, trials_path("cpu-fp32"), b"{}")  # which runs nothing
    put(1)
    reported("kitchen", 0)
    reported("kitchen", 1, FASTER)
    shown: list[list[Row]] = []
    monkeypatch.setattr(decide, "create_table_artifact", lambda table, **_: shown.append(table))
    with pytest.raises(NotStoredError, match="target 'cpu-fp32' in .*: runs no release, and has some on trial"):
        decided()
    assert [row["what happens"] for row in shown[0]] == ["it waits", "promoted"]
    assert running(store) == made[1]
