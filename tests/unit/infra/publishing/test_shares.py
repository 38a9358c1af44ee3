"""Releases on a share of the devices, stops and pins: what is signed, by whom it is kept, and who loses a race."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from infra.device.documents.manifest import Manifest, manifest_path, release_file_key
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.errors import (
    ConflictError,
    ContractError,
    DigestMismatchError,
    NotStoredError,
    StoreUnavailableError,
)
from infra.device.releases import read_current
from infra.device.stores.folder_store import FolderStore
from infra.publishing import pointers
from infra.publishing.pointers import pin, pins, rollouts, unpin
from infra.publishing.releases import promote, publish_release
from infra.publishing.retiring import retain, retire
from infra.publishing.roll_backs import before_of, go_back, roll_back, stop
from infra.publishing.stops import Stop, read_stops, stop_path
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import exported, three_releases
from tests.unit.infra.publishing.stores import KilledStore, RacedStore

TARGET = "cpu-fp32"


@pytest.fixture
def made(store: FolderStore, tmp_path: Path) -> list[str]:
    """Three releases for two targets, the oldest first; the target runs the first."""
    releases = three_releases(store, tmp_path)
    promote(publisher_of(store), TARGET, releases[0])
    return releases


def current(store: FolderStore) -> Pointer:
    return read_current(trust_of(store), TARGET)


def state(store: FolderStore) -> tuple[str, str | None, float]:
    pointer = current(store)
    return pointer.release_id, pointer.replaces, pointer.share


def test_a_share_of_the_devices_gets_a_release_and_then_all_do(store: FolderStore, made: list[str]) -> None:
    first, second, _ = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    assert state(store) == (second, first, 0.2)
    before = store.get("tuf/timestamp.json")
    promote(publisher_of(store), TARGET, second, share=0.2)
    assert store.get("tuf/timestamp.json") == before
    for share in (0.5, 1.0, 0.1, 1.0):
        promote(publisher_of(store), TARGET, second, share=share)
        assert state(store) == (second, first, share)
    roll_back(publisher_of(store), TARGET)
    assert state(store) == (first, second, 1.0)


def test_a_share_needs_another_release_for_the_other_devices(store: FolderStore, tmp_path: Path) -> None:
    first, second, _ = three_releases(store, tmp_path)
    with pytest.raises(ContractError, match=r"got a share of 0\.2, wanted 1: there is no other release"):
        promote(publisher_of(store), TARGET, first, share=0.2)
    promote(publisher_of(store), TARGET, first)
    with pytest.raises(ContractError, match="there is no other release"):
        promote(publisher_of(store), TARGET, first, share=0.5)
    promote(publisher_of(store), TARGET, second, share=0.2)
    with pytest.raises(ContractError, match="there is no other release"):
        promote(publisher_of(store), TARGET, first, share=0.5)
    for share in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ContractError, match="share"):
            promote(publisher_of(store), TARGET, second, share=share)
    assert state(store) == (second, first, 0.2)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_third_release_drops_the_one_that_is_on_its_way(store: FolderStore, made: list[str], share: float) -> None:
    """The other devices run the release before both; so do all after a roll-back."""
    first, second, third = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    promote(publisher_of(store), TARGET, third, share=share)
    assert state(store) == (third, first, share)
    retire(publisher_of(store), second)
    roll_back(publisher_of(store), TARGET)
    assert current(store).release_id == first


def test_the_former_release_may_be_promoted_for_all_while_another_is_on_its_way(
    store: FolderStore, made: list[str]
) -> None:
    first, second, _ = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    promote(publisher_of(store), TARGET, first)
    assert state(store) == (first, None, 1.0)


def test_a_roll_back_of_what_is_on_its_way_stops_it_for_all(store: FolderStore, made: list[str]) -> None:
    first, second, third = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    seen = before_of(publisher_of(store), TARGET)
    for _ in range(2):  # as a task that is tried again
        assert go_back(publisher_of(store), TARGET, *seen).release_id == first
    assert state(store) == (first, None, 1.0)
    (stopped,) = read_stops(trust_of(store))
    assert (stopped.release_id, stopped.back_to, stopped.by) == (second, first, "a person")
    with pytest.raises(NotStoredError, match=f"runs {first}, and knows none before"):
        roll_back(publisher_of(store), TARGET)
    promote(publisher_of(store), TARGET, third, share=0.2)
    assert state(store) == (third, first, 0.2)


def test_a_stopped_release_is_promoted_only_by_force_which_forgets_the_stop(
    store: FolderStore, made: list[str]
) -> None:
    first, second, _ = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    stop(publisher_of(store), TARGET, second, "device kitchen computes something else: 0.4", "the flow rollout")
    for share in (0.2, 1.0):
        with pytest.raises(ConflictError, match=r"was stopped at [0-9: -]+ UTC by the flow rollout: device kitchen"):
            promote(publisher_of(store), TARGET, second, share=share)
    promote(publisher_of(store), "cpu-int8", second)  # another target has devices of its own
    promote(publisher_of(store), TARGET, second, share=0.2, is_forced=True)
    assert read_stops(trust_of(store)) == []
    promote(publisher_of(store), TARGET, second)
    assert state(store) == (second, first, 1.0)


def test_a_stop_counts_for_the_same_networks_in_another_release(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    def publish(mse: float, content: bytes | None = None) -> str:
        if content is not None:
            release_files["model/cpu-fp32.bin"].write_bytes(content)
        sources = exported(store, release_files)
        files = {path: replace(manifest.files[path]) for path in manifest.files}
        files |= {path: store.digest(key) for path, key in sources.items()}
        return publish_release(publisher_of(store), replace(manifest, scores={"mse": mse}, files=files), sources)

    promote(publisher_of(store), TARGET, published)
    second = publish(2, b"other weights")
    promote(publisher_of(store), TARGET, second, share=0.2)
    stop(publisher_of(store), TARGET, second, "slower", "the flow rollout")
    again, different = publish(3), publish(3, b"weights of another kind")
    with pytest.raises(ConflictError, match=f"the rollout of release {second} was stopped"):
        promote(publisher_of(store), TARGET, again)
    promote(publisher_of(store), TARGET, different, share=0.2)
    promote(publisher_of(store), TARGET, again, share=0.2, is_forced=True)
    promote(publisher_of(store), TARGET, again)  # what was forced once goes on without it
    assert (state(store), read_stops(trust_of(store))) == ((again, published, 1.0), [])


def test_stop_says_where_nothing_is_on_its_way(store: FolderStore, made: list[str]) -> None:
    first, second, third = made
    for release in (first, second):
        with pytest.raises(ConflictError, match=f"no rollout of release {release} under way"):
            stop(publisher_of(store), TARGET, release, "slower", "a test")
    promote(publisher_of(store), TARGET, second, share=0.2)
    with pytest.raises(ConflictError, match=f"no rollout of release {third} under way"):
        stop(publisher_of(store), TARGET, third, "slower", "a test")
    with pytest.raises(ConflictError, match="under way"):
        stop(publisher_of(store), "cpu-int8", second, "slower", "a test")


def test_a_release_whose_manifest_is_damaged_can_be_stopped(store: FolderStore, made: list[str]) -> None:
    first, second, _ = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    (key,) = [key for key in store.list(f"releases/{second}/") if key.endswith("manifest.json")]
    store.put(key, b"{}")
    assert stop(publisher_of(store), TARGET, second, "rejected", "a test").release_id == first
    (stopped,) = read_stops(trust_of(store))
    assert (stopped.release_id, stopped.networks_sha256) == (second, None)


def test_a_stop_that_is_damaged_still_stops_its_own_release_and_no_other(store: FolderStore, made: list[str]) -> None:
    _, second, third = made
    sign(store, stop_path(TARGET, second), b"{")
    assert read_stops(trust_of(store)) == []
    with pytest.raises(ConflictError, match="was stopped, and what is signed of that is damaged: stop: not JSON"):
        promote(publisher_of(store), TARGET, second)
    promote(publisher_of(store), TARGET, third)
    promote(publisher_of(store), TARGET, second, is_forced=True)
    assert not publisher_of(store).signed(stop_path(TARGET, second))


def test_of_two_who_move_a_rollout_the_later_one_is_told(store: FolderStore, made: list[str]) -> None:
    first, second, third = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    raced = RacedStore(store.folder, lambda: stop(publisher_of(store), TARGET, second, "slower", "a test"))
    with pytest.raises(ConflictError, match=f"somebody moved it from {second}; look again"):
        promote(publisher_of(raced), TARGET, second, instead_of=second)
    assert state(store) == (first, None, 1.0)
    promote(publisher_of(store), TARGET, third, share=0.2)
    raced = RacedStore(store.folder, lambda: promote(publisher_of(store), TARGET, third))
    with pytest.raises(ConflictError, match=f"somebody moved it from {third}; look again"):
        stop(publisher_of(raced), TARGET, third, "slower", "a test")
    assert (state(store), len(read_stops(trust_of(store)))) == ((third, first, 1.0), 1)


def test_a_rollout_loses_when_somebody_retires_what_the_others_would_run(store: FolderStore, made: list[str]) -> None:
    """Nothing of ours does, as `retire` keeps it."""
    first, second, _ = made

    def gone() -> None:
        publisher_of(store).change(lambda targets: targets.targets.pop(manifest_path(first), None) is not None)

    with pytest.raises(NotStoredError, match=f"release {first} .*somebody retired it"):
        promote(publisher_of(RacedStore(store.folder, gone)), TARGET, second, share=0.2)


@pytest.mark.parametrize("act", ["share", "stop", "pin"])
def test_whoever_is_killed_after_any_write_leaves_the_old_state_or_the_new_one(
    store: FolderStore, made: list[str], act: str
) -> None:
    first, second, third = made
    if act == "stop":
        promote(publisher_of(store), TARGET, second, share=0.2)
    acts: dict[str, Callable[[FolderStore], object]] = {
        "share": lambda killed: promote(publisher_of(killed), TARGET, second, share=0.2),
        "stop": lambda killed: stop(publisher_of(killed), TARGET, second, "slower", "a test"),
        "pin": lambda killed: pin(publisher_of(killed), TARGET, "kitchen", third),
    }

    def whole() -> tuple[object, ...]:
        pinned = {name: one.release_id for name, one in pins(publisher_of(store)).items()}
        return state(store), pinned, [one.release_id for one in read_stops(trust_of(store))]

    before, seen = whole(), []
    for writes in range(20):
        with suppress(StoreUnavailableError):
            acts[act](KilledStore(store.folder, writes))
        seen.append(whole())
        if seen[-1] != before:
            break
    new = {
        "share": ((second, first, 0.2), {}, []),
        "stop": ((first, None, 1.0), {}, [second]),
        "pin": ((first, None, 1.0), {(TARGET, "kitchen"): third}, []),
    }
    assert seen == [before] * (len(seen) - 1) + [new[act]]
    assert len(seen) > 3


def test_what_a_rollout_or_a_pin_needs_is_kept(store: FolderStore, made: list[str]) -> None:
    first, second, third = made
    promote(publisher_of(store), TARGET, second, share=0.2)
    pin(publisher_of(store), TARGET, "kitchen", third)
    for release, why in (
        (first, "runs it where its rollout is not"),
        (second, "runs it"),
        (third, "device kitchen is pinned to it on target cpu-fp32"),
    ):
        with pytest.raises(ConflictError, match=why):
            retire(publisher_of(store), release)
    assert retain(publisher_of(store), 1) == []
    unpin(publisher_of(store), TARGET, "kitchen")
    stop(publisher_of(store), TARGET, second, "slower", "a test")
    assert sorted(retain(publisher_of(store), 1)) == [second]
    assert [one.release_id for one in read_stops(trust_of(store))] == [second]  # and it stays stopped


def test_a_device_is_pinned_and_unpinned(store: FolderStore, made: list[str]) -> None:
    first, second, third = made
    for release in (second, third):
        pinned = pin(publisher_of(store), TARGET, "kitchen", release)
        assert (pinned.release_id, pinned.share, pinned.replaces) == (release, 1.0, None)
        assert pins(publisher_of(store)) == {(TARGET, "kitchen"): pinned}
    assert state(store) == (first, None, 1.0)
    assert pointers.pointers(publisher_of(store)).keys() == {TARGET}
    unpin(publisher_of(store), TARGET, "kitchen")
    assert pins(publisher_of(store)) == {}
    with pytest.raises(NotStoredError, match="device 'kitchen' on target 'cpu-fp32': is not pinned"):
        unpin(publisher_of(store), TARGET, "kitchen")


def test_a_pin_is_refused_where_a_promotion_would_be(store: FolderStore, made: list[str]) -> None:
    publisher = publisher_of(store)
    with pytest.raises(NotStoredError, match="000000000000"):
        pin(publisher, TARGET, "kitchen", "0" * 12)
    with pytest.raises(ContractError, match="no files for target 'ncs2-fp16'"):
        pin(publisher, "ncs2-fp16", "kitchen", made[1])
    for name in ("кухня", "../attic", "", "a" * 129):
        with pytest.raises(ContractError, match="device: got"):
            pin(publisher, TARGET, name, made[1])
    with pytest.raises(ContractError, match="release_id: got"):
        pin(publisher, TARGET, "kitchen", "релиз")
    store.put(release_file_key(made[1], "modnet.bin"), b"rotten!")
    with pytest.raises(DigestMismatchError, match=r"modnet\.bin"):
        pin(publisher, TARGET, "kitchen", made[1])
    assert pins(publisher) == {}


def test_of_two_who_pin_a_device_the_later_one_is_told(store: FolderStore, made: list[str]) -> None:
    raced = RacedStore(store.folder, lambda: pin(publisher_of(store), TARGET, "kitchen", made[1]))
    with pytest.raises(ConflictError, match="somebody pinned or unpinned it; look again"):
        pin(publisher_of(raced), TARGET, "kitchen", made[2])
    assert pins(publisher_of(store))[TARGET, "kitchen"].release_id == made[1]


def test_a_damaged_pin_is_named_and_can_be_removed(store: FolderStore, made: list[str]) -> None:
    sign(store, pin_path(TARGET, "kitchen"), b"{")
    with pytest.raises(ConflictError, match=r"pins/kitchen\.json is damaged, .*: unpin it first"):
        retire(publisher_of(store), made[1])
    promote(publisher_of(store), TARGET, made[1], share=0.2)
    assert [one.target for one in rollouts(publisher_of(store))] == [TARGET]
    unpin(publisher_of(store), TARGET, "kitchen")
    retire(publisher_of(store), made[2])


def test_a_damaged_pointer_does_not_hide_the_rollouts_of_others(store: FolderStore, made: list[str]) -> None:
    promote(publisher_of(store), TARGET, made[1], share=0.2)
    sign(store, pointer_path("cpu-int8"), b"{")
    assert [one.target for one in rollouts(publisher_of(store))] == [TARGET]


def test_a_stop_is_read_back_and_refuses_what_it_is_not() -> None:
    stopped = Stop(TARGET, "0" * 12, "1" * 12, None, "slower", "a test")
    assert Stop.from_json(stopped.to_json()) == stopped
    for changes in ({"target": "кухня"}, {"back_to": "x"}, {"networks_sha256": "1"}, {"reason": "x" * 2001}):
        with pytest.raises(ContractError, match=next(iter(changes))):
            replace(stopped, **changes)
