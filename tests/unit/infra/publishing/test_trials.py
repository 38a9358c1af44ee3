"""Trials as they are signed: who is told that somebody was faster, what they keep, and who reads past them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.documents.trials import Trials, trials_path
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import read_trials
from infra.device.stores.folder_store import FolderStore
from infra.fleet.findings import read_running
from infra.publishing.pointers import pinned_devices, pins, pointers, rollouts
from infra.publishing.releases import promote
from infra.publishing.retiring import retain, retire
from infra.publishing.rollouts import rollout_rows
from infra.publishing.trials import end_trials, publish_trials, signed_trials, trials_in
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import three_releases
from tests.unit.infra.publishing.stores import RacedStore

TARGET = "cpu-fp32"
LATER = datetime(2026, 12, 1, 6, tzinfo=UTC)


@pytest.fixture
def made(store: FolderStore, tmp_path: Path) -> list[str]:
    """Three releases for two targets, the oldest first; the target runs the last."""
    releases = three_releases(store, tmp_path)
    promote(publisher_of(store), TARGET, releases[2])
    return releases


def put(store: FolderStore, made: list[str], *numbers: int) -> Trials:
    names = [made[number] for number in numbers]
    return publish_trials(publisher_of(store), TARGET, names, made[2], LATER)


def test_trials_are_signed_replaced_and_ended(store: FolderStore, made: list[str]) -> None:
    put(store, made, 0)
    trials = put(store, made, 1, 0)
    assert read_trials(trust_of(store), TARGET) == trials
    assert (trials.release_ids, trials.against) == ((made[1], made[0]), made[2])
    assert trials.decide_by == "20261201T060000.000000Z"
    publisher = publisher_of(store)
    (signed,) = signed_trials(publisher).values()
    assert trials_in(publisher, signed) == trials
    for _ in range(2):  # as a task that is tried again
        end_trials(publisher, TARGET, signed)
    assert signed_trials(publisher) == {}
    with pytest.raises(NotStoredError):
        read_trials(trust_of(store), TARGET)


def test_the_same_trials_keep_the_time_by_which_they_are_decided(store: FolderStore, made: list[str]) -> None:
    before = put(store, made, 1, 0)
    again = publish_trials(publisher_of(store), TARGET, [made[1], made[0]], made[2], LATER + timedelta(days=1))
    assert again == before == read_trials(trust_of(store), TARGET)
    assert publish_trials(publisher_of(store), TARGET, [made[0]], made[2], LATER + timedelta(days=1)) != before


def test_trials_are_not_ended_where_somebody_has_published_others(store: FolderStore, made: list[str]) -> None:
    put(store, made, 0)
    publisher = publisher_of(store)
    (signed,) = signed_trials(publisher).values()
    others = put(store, made, 1)
    with pytest.raises(ConflictError, match="somebody published others"):
        end_trials(publisher, TARGET, signed)
    assert read_trials(trust_of(store), TARGET) == others


def test_trials_are_not_published_where_the_pointer_moved(store: FolderStore, made: list[str]) -> None:
    raced = RacedStore(store.folder, lambda: promote(publisher_of(store), TARGET, made[1]))
    with pytest.raises(ConflictError, match=f"leads to {made[1]} by now, wanted {made[2]}"):
        publish_trials(publisher_of(raced), TARGET, [made[0]], made[2], LATER)
    with pytest.raises(ConflictError, match="leads to None by now"):
        publish_trials(publisher_of(store), "cpu-int8", [made[0]], made[2], LATER)


def test_trials_are_not_published_where_a_release_was_retired(store: FolderStore, made: list[str]) -> None:
    raced = RacedStore(store.folder, lambda: retire(publisher_of(store), made[0]))
    with pytest.raises(NotStoredError, match="somebody retired it"):
        publish_trials(publisher_of(raced), TARGET, [made[0]], made[2], LATER)
    with pytest.raises(NotStoredError):
        publish_trials(publisher_of(store), TARGET, [made[0]], made[2], LATER)


def test_trials_are_read_and_verified_before_devices_are_asked(store: FolderStore, made: list[str]) -> None:
    store.put(f"releases/{made[0]}/modnet.bin", b"content of day 9")
    with pytest.raises(DigestMismatchError):
        put(store, made, 0)
    with pytest.raises(ContractError, match="no files for target 'ncs2-fp16'"):
        publish_trials(publisher_of(store), "ncs2-fp16", [made[1]], made[2], LATER)
    assert signed_trials(publisher_of(store)) == {}


def test_a_release_on_trial_is_not_retired(store: FolderStore, made: list[str]) -> None:
    put(store, made, 0)
    with pytest.raises(ConflictError, match=f"release {made[0]} is kept: it is on trial for target {TARGET}"):
        retire(publisher_of(store), made[0])
    assert retain(publisher_of(store), 1) == [made[1]]
    publisher = publisher_of(store)
    (signed,) = signed_trials(publisher).values()
    end_trials(publisher, TARGET, signed)
    assert retain(publisher_of(store), 1) == [made[0]]


def test_where_trials_are_damaged_nothing_is_retired(store: FolderStore, made: list[str]) -> None:
    sign(store, trials_path(TARGET), b"{}")
    with pytest.raises(ConflictError, match="nobody can say what is on trial"):
        retain(publisher_of(store), 1)


def test_who_reads_pointers_reads_past_trials(store: FolderStore, made: list[str]) -> None:
    put(store, made, 0, 1)
    publisher, trust = publisher_of(store), trust_of(store)
    assert {target: one.release_id for target, one in pointers(publisher).items()} == {TARGET: made[2]}
    assert (pins(publisher), pinned_devices(publisher, TARGET), rollouts(publisher)) == ({}, set(), [])
    running = read_running(trust)
    assert ({target: one.release_id for target, one in running.pointers.items()}, running.pins) == (
        {TARGET: made[2]},
        {},
    )
    (row,) = rollout_rows(trust)
    assert row.pins == {}
    assert row.state == f"all devices run it; on trial until 2026-12-01 06:00 UTC: {made[0]}, {made[1]}"


def test_damaged_trials_are_said_in_the_row_of_their_target(store: FolderStore, made: list[str]) -> None:
    sign(store, trials_path(TARGET), b"{}")
    (row,) = rollout_rows(trust_of(store))
    assert row.state.startswith("all devices run it; what is on trial is damaged: trials.schema_version: missing")
