"""Tasks of promote, rollout, roll-back, retire, retain and renew, on a folder store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.documents.pointer import Pointer
from infra.device.errors import ConflictError, ContractError, DigestMismatchError
from infra.device.releases import read_current
from infra.device.stores.folder_store import FolderStore
from infra.fleet.collecting import Look
from infra.ingest.devices import DeviceRegistry
from infra.local_stack.environments import MARKER
from infra.publishing.pointers import pin, unpin
from infra.publishing.releases import published
from modnet.configs import RolloutConfig
from modnet.errors import ConfigError
from modnet.records import Decision
from tasks import releases
from tasks.stored import get_record
from tests.signing import publisher_of, trust_of
from tests.unit.infra.exported import three_releases

Reported = Callable[..., None]
SHOWN: list[list[dict[str, str]]] = []
"""Tables that tasks have shown in a test."""


@pytest.fixture
def store(own_store: FolderStore) -> Iterator[FolderStore]:
    with disable_run_logger():
        yield own_store


@pytest.fixture
def made(store: FolderStore, tmp_path: Path) -> list[str]:
    """Three releases for two targets, the oldest first."""
    return three_releases(store, tmp_path)


def running(store: FolderStore) -> dict[str, str]:
    trust = trust_of(store)
    return {target: read_current(trust, target).release_id for target in ("cpu-fp32", "cpu-int8")}


def test_all_targets_of_a_release_are_promoted_unless_some_are_named(store: FolderStore, made: list[str]) -> None:
    assert releases.promote_release.fn(made[0], [], 1.0, False) == ["cpu-fp32", "cpu-int8"]
    assert releases.promote_release.fn(made[1], ["cpu-int8"], 1.0, False) == ["cpu-int8"]
    assert running(store) == {"cpu-fp32": made[0], "cpu-int8": made[1]}


def test_a_roll_back_that_is_tried_again_goes_back_once(store: FolderStore, made: list[str]) -> None:
    for release in made[:2]:
        releases.promote_release.fn(release, [], 1.0, False)
    current, before = releases.release_before.fn("cpu-int8")
    for _ in range(2):
        releases.roll_back_target.fn("cpu-int8", current, before)
    assert running(store) == {"cpu-fp32": made[1], "cpu-int8": made[0]}


def test_what_is_needed_is_neither_retired_nor_left_out_of_the_last(store: FolderStore, made: list[str]) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    with pytest.raises(ConflictError, match="runs it"):
        releases.retire_release.fn(made[0])
    assert releases.retain_releases.fn(1) == [made[1]]
    assert {one for one, _ in published(publisher_of(store))} == {made[0], made[2]}
    releases.retire_release.fn(made[2])
    with pytest.raises(ConfigError, match="last: got 0, wanted at least 1"):
        releases.retain_releases.fn(0)


def test_renewal_signs_for_a_week_removes_what_was_abandoned_and_tells_of_a_root_that_ends(
    store: FolderStore, made: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("publishing/0123456789ab.json", b"20200101T000000.000000Z")
    store.put("releases/0123456789ab/modnet.xml", b"half")
    monkeypatch.setattr(releases, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(releases, "_ROOT_NEARS_ITS_END", timedelta(days=400))
    with caplog.at_level(logging.INFO):
        until = releases.renew_signatures.fn()
    assert timedelta(days=6) < until - datetime.now(UTC) <= timedelta(days=7)
    assert store.list("releases/0123456789ab/") == []
    assert "removed what killed publications left: 0123456789ab" in caplog.text
    assert "sign it anew by `modnet keys sign`" in caplog.text


@pytest.fixture
def reported(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Reported:
    """A function that stores the report of a device on a release of cpu-int8."""
    monkeypatch.setattr(releases, "create_table_artifact", lambda table, **_: SHOWN.append(table))
    SHOWN.clear()

    def report(device: str, release_id: str, status: str = "measured") -> None:
        samples, reason = (1.0, 2.0, 3.0), None if status == "measured" else "no such operation"
        measured = {
            "samples_ms": samples,
            "load_ms": 1.0,
            "input_shape": (1, 3, 480, 320),
            "summary": summarise(samples),
            "intervals_ms": intervals(samples),
        }
        made = LatencyReport(
            *(release_id, "cpu-int8", device, "openvino 2026.4.1", status, "20261130T063000.000000Z", {}, reason),
            **(measured if status == "measured" else {}),
        )
        store.put(made.key(), made.to_json())

    return report


def in_share(pointer: Pointer) -> Iterator[str]:
    return (name for name in (f"device-{number}" for number in range(1000)) if pointer.is_for(name))


def test_rollouts_are_looked_after_one_by_one(store: FolderStore, made: list[str], reported: Reported) -> None:
    """One goes to all devices, and is not kept from it by another target, whose release is damaged."""
    assert releases.look_after_rollouts.fn(RolloutConfig()) == []
    assert SHOWN == []
    releases.promote_release.fn(made[0], [], 1.0, False)
    releases.promote_release.fn(made[1], [], 0.2, False)
    pointer = read_current(trust_of(store), "cpu-int8")
    reported(next(in_share(pointer)), made[1])
    held, _ = releases.look_after_rollouts.fn(RolloutConfig()), releases.look_after_rollouts.fn(RolloutConfig())
    assert [(row["target"], row["what happens"]) for row in held] == [
        ("cpu-fp32", "it waits"),
        ("cpu-int8", "it waits"),
    ]
    assert running(store) == {"cpu-fp32": made[1], "cpu-int8": made[1]}
    assert read_current(trust_of(store), "cpu-int8").share == 0.2
    other = releases.look_after_rollouts.fn(RolloutConfig(hold_hours=0))
    assert [row["what happens"] for row in other] == ["it waits", "all devices get it"]
    assert "and it waits for devices; 0 trustworthy reports, wanted 1" in other[0]["why"]
    assert [read_current(trust_of(store), one).share for one in ("cpu-fp32", "cpu-int8")] == [0.2, 1.0]
    assert [table[0]["release"] for table in SHOWN] == [made[1]] * 3


def test_what_became_of_a_target_is_kept_as_decisions(store: FolderStore, made: list[str], reported: Reported) -> None:
    releases.promote_release.fn(made[0], ["cpu-int8"], 1.0, False)
    releases.promote_release.fn(made[1], ["cpu-int8"], 0.2, False)
    reported(next(in_share(read_current(trust_of(store), "cpu-int8"))), made[1])
    releases.look_after_rollouts.fn(RolloutConfig(hold_hours=0))
    releases.promote_release.fn(made[2], ["cpu-int8"], 0.2, False)
    (device, *_) = in_share(read_current(trust_of(store), "cpu-int8"))
    reported(device, made[2], "failed")
    releases.look_after_rollouts.fn(RolloutConfig())
    releases.promote_release.fn(made[0], ["cpu-int8"], 1.0, False)
    releases.roll_back_target.fn("cpu-int8", made[0], made[1])
    found = [get_record(store, key, Decision) for key in store.list("decisions/cpu-int8/")]
    assert [(one.kind, one.before, one.after) for one in found] == [
        ("first", None, made[0]),
        ("promoted", made[0], made[1]),
        ("promoted", made[0], made[1]),
        ("promoted", made[1], made[2]),
        ("stopped", made[2], made[1]),
        ("promoted", made[1], made[0]),
        ("rolled back", made[0], made[1]),
    ]
    assert [one.by for one in found[1:5]] == ["a person", "the flow rollout", "a person", "the flow rollout"]
    assert found[2].words.startswith(f"all devices of cpu-int8 get release {made[1]}: 1 trustworthy report")
    assert found[4].words == (
        f"all devices of cpu-int8 run release {made[1]} again: device {device} (openvino 2026.4.1) could not run it: "
        "no such operation"
    )


def test_a_rollout_that_cannot_be_looked_after_fails_the_run_and_stops_no_other(
    store: FolderStore, made: list[str], reported: Reported
) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    releases.promote_release.fn(made[1], ["cpu-int8"], 0.2, False)
    releases.promote_release.fn(made[2], ["cpu-fp32"], 0.2, False)
    (device, other, *_) = in_share(read_current(trust_of(store), "cpu-int8"))
    reported(device, made[1])
    store.put(f"releases/{made[1]}/modnet.bin", b"rotten!")
    with pytest.raises((DigestMismatchError, ContractError), match=r"modnet\.bin"):
        releases.look_after_rollouts.fn(RolloutConfig(hold_hours=0))
    assert [row["target"] for row in SHOWN[0]] == ["cpu-fp32", "cpu-int8"]
    assert SHOWN[0][1]["why"].startswith("it could not be looked after: modnet.bin: got")
    assert read_current(trust_of(store), "cpu-int8").share == 0.2
    reported(other, made[1], "failed")  # and it can be stopped
    assert releases.look_after_rollouts.fn(RolloutConfig())[1]["what happens"] == "stopped"
    assert running(store)["cpu-int8"] == made[0]


def test_a_rollout_does_not_finish_over_what_somebody_has_just_decided(
    store: FolderStore, made: list[str], reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    releases.promote_release.fn(made[1], ["cpu-int8"], 0.5, False)
    for device in in_share(read_current(trust_of(store), "cpu-int8")):
        reported(device, made[1])
    read_new = releases.read_new

    def read_and_lower_the_share() -> Look:
        look = read_new()
        releases.promote_release.fn(made[1], ["cpu-int8"], 0.01, False)
        return look

    monkeypatch.setattr(releases, "read_new", read_and_lower_the_share)
    (row,) = releases.look_after_rollouts.fn(RolloutConfig(hold_hours=0))
    assert (row["what happens"], row["why"].partition(":")[0]) == ("it waits", "somebody else was first")
    assert read_current(trust_of(store), "cpu-int8").share == 0.01


def test_a_pinned_device_stops_nothing(store: FolderStore, made: list[str], reported: Reported) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    releases.promote_release.fn(made[1], ["cpu-int8"], 0.2, False)
    (device, *_) = in_share(read_current(trust_of(store), "cpu-int8"))
    reported(device, made[1], "failed")
    pin(publisher_of(store), "cpu-int8", device, made[0])
    assert releases.look_after_rollouts.fn(RolloutConfig())[0]["what happens"] == "it waits"
    unpin(publisher_of(store), "cpu-int8", device)
    (row,) = releases.look_after_rollouts.fn(RolloutConfig())
    assert (row["what happens"], row["why"]) == (
        "stopped",
        f"device {device} (openvino 2026.4.1) could not run it: no such operation",
    )
    assert releases.look_after_rollouts.fn(RolloutConfig()) == []


def test_a_revoked_device_stops_nothing(
    store: FolderStore, made: list[str], reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    releases.promote_release.fn(made[1], ["cpu-int8"], 0.2, False)
    (device, *_) = in_share(read_current(trust_of(store), "cpu-int8"))
    reported(device, made[1], "failed")
    monkeypatch.setenv(MARKER, str(tmp_path))
    registry = DeviceRegistry(tmp_path / "devices.json")
    registry.add(device)
    registry.revoke(device)
    assert releases.look_after_rollouts.fn(RolloutConfig())[0]["what happens"] == "it waits"
    (tmp_path / "devices.json").write_text("{")
    assert releases.look_after_rollouts.fn(RolloutConfig())[0]["what happens"] == "stopped"


def test_whoever_moves_a_rollout_meanwhile_is_not_overruled(
    store: FolderStore, made: list[str], reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.promote_release.fn(made[0], [], 1.0, False)
    releases.promote_release.fn(made[1], ["cpu-int8"], 0.2, False)
    (device, *_) = in_share(read_current(trust_of(store), "cpu-int8"))
    reported(device, made[1], "failed")
    decide = releases.verdict

    def outrun(*args: Any) -> Any:
        releases.promote_release.fn(made[2], ["cpu-int8"], 1.0, False)
        return decide(*args)

    monkeypatch.setattr(releases, "verdict", outrun)
    (row,) = releases.look_after_rollouts.fn(RolloutConfig())
    assert row["why"].startswith("somebody else was first: target 'cpu-int8'")
    assert running(store)["cpu-int8"] == made[2]
