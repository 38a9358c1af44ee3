from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.device.documents.manifest import Manifest, manifest_path, release_file_key, release_id_of
from infra.device.documents.pointer import pointer_path
from infra.device.errors import (
    ConflictError,
    ContractError,
    DigestMismatchError,
    NotStoredError,
    StoreUnavailableError,
)
from infra.device.releases import fetch_release, read_current, read_manifest
from infra.device.stores.folder_store import FolderStore
from infra.publishing import releases
from infra.publishing.marks import await_reports
from infra.publishing.releases import promote, publish_release
from infra.publishing.retiring import retain, retire, sweep
from infra.publishing.roll_backs import before_of, roll_back
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import exported
from tests.unit.infra.publishing.stores import KilledStore, RacedStore

LATER = "20261123T063000.000000Z"
Publish = Callable[[float], str]


@pytest.fixture
def publish(store: FolderStore, manifest: Manifest, release_files: dict[str, Path]) -> Publish:
    """A function that publishes the release of this error."""

    def published_with(mse: float) -> str:
        changed = replace(manifest, scores={"mse": mse}, created_at=f"202611{int(mse):02d}T063000.000000Z")
        return publish_release(publisher_of(store), changed, exported(store, release_files))

    return published_with


def is_signed(store: FolderStore, path: str) -> bool:
    return publisher_of(store).signed(path) is not None


def test_publish_release_stores_every_file_and_the_manifest(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    assert published == release_id_of(manifest)
    stored = store.list(f"releases/{published}/")
    files = {release_file_key(published, path) for path in release_files}
    (signed,) = set(stored) - files
    assert (len(stored), signed.endswith(".manifest.json")) == (len(files) + 1, True)
    assert read_manifest(trust_of(store), published) == manifest
    assert store.list("publishing/") == []


def test_publish_release_changes_nothing_when_repeated_later(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    before = store.get("tuf/timestamp.json")
    again = publish_release(publisher_of(store), replace(manifest, created_at=LATER), exported(store, release_files))
    assert again == published
    assert read_manifest(trust_of(store), published).created_at == manifest.created_at
    assert store.get("tuf/timestamp.json") == before


def test_publish_release_completes_what_a_loss_left(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    store.delete(release_file_key(published, "model/model.onnx"))
    publish_release(publisher_of(store), manifest, exported(store, release_files))
    assert promote(publisher_of(store), "cpu-fp32", published).release_id == published


def test_publish_release_refuses_another_file_under_its_key(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    store.put(release_file_key(release_id_of(manifest), "model/cpu-fp32.bin"), b"something else")
    with pytest.raises(DigestMismatchError, match=r"cpu-fp32\.bin"):
        publish_release(publisher_of(store), manifest, exported(store, release_files))
    assert not is_signed(store, manifest_path(release_id_of(manifest)))


@pytest.mark.parametrize("content", [b"CONTENT of model.onnx", b"cut", b""])
def test_publish_release_refuses_a_source_that_changed(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], content: bytes
) -> None:
    sources = exported(store, release_files)
    store.put(sources["model/model.onnx"], content)
    with pytest.raises(DigestMismatchError, match=r"model\.onnx"):
        publish_release(publisher_of(store), manifest, sources)
    assert not store.exists(release_file_key(release_id_of(manifest), "model/model.onnx"))
    assert not is_signed(store, manifest_path(release_id_of(manifest)))


def test_publish_release_refuses_a_source_that_is_gone(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    sources = exported(store, release_files)
    store.delete(sources["model/model.onnx"])
    with pytest.raises(NotStoredError, match=r"model\.onnx"):
        publish_release(publisher_of(store), manifest, sources)
    assert not is_signed(store, manifest_path(release_id_of(manifest)))


def test_publish_release_refuses_other_paths_than_the_manifest(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    del release_files["model/model.onnx"]
    with pytest.raises(ContractError, match=r"model\.onnx"):
        publish_release(publisher_of(store), manifest, exported(store, release_files))
    assert store.list("releases/") == []


def test_publish_release_refuses_a_manifest_that_no_reader_would_take(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    huge = replace(manifest, provenance={"made": "x" * Manifest.max_bytes})
    with pytest.raises(ContractError, match=r"manifest: has \d+ bytes, wanted at most 1048576"):
        publish_release(publisher_of(store), huge, exported(store, release_files))
    assert store.list("releases/") == []


def test_promote_moves_the_pointer_forth_and_back(store: FolderStore, published: str, publish: Publish) -> None:
    other, trust = publish(2), trust_of(store)
    before = None
    for release in (published, other, published):
        promote(publisher_of(store), "cpu-fp32", release)
        trust.refresh()
        pointer = read_current(trust, "cpu-fp32")
        assert (pointer.release_id, pointer.replaces) == (release, before)
        before = release


def test_promote_leaves_the_pointer_when_it_is_there_already(store: FolderStore, published: str) -> None:
    promote(publisher_of(store), "cpu-fp32", published)
    before = store.get("tuf/timestamp.json")
    promote(publisher_of(store), "cpu-fp32", published)
    assert store.get("tuf/timestamp.json") == before


@pytest.mark.parametrize("path", ["model/cpu-fp32.bin", "model/model.onnx"])
@pytest.mark.parametrize("content", [None, b"rotten"], ids=["missing", "rotten"])
def test_promote_refuses_a_release_with_a_file_that_does_not_verify(
    store: FolderStore, published: str, path: str, content: bytes | None
) -> None:
    if content is None:
        store.delete(release_file_key(published, path))
    else:
        store.put(release_file_key(published, path), content)
    with pytest.raises(NotStoredError if content is None else DigestMismatchError, match=path):
        promote(publisher_of(store), "cpu-fp32", published)
    assert not is_signed(store, pointer_path("cpu-fp32"))


def test_promote_refuses_a_release_that_was_never_published(store: FolderStore) -> None:
    with pytest.raises(NotStoredError):
        promote(publisher_of(store), "cpu-fp32", "0123456789ab")


def test_promote_refuses_a_target_that_the_release_has_not(store: FolderStore, published: str) -> None:
    with pytest.raises(ContractError, match="ncs2-fp16"):
        promote(publisher_of(store), "ncs2-fp16", published)


def test_promote_in_the_place_of_a_release_refuses_to_replace_another_one(
    store: FolderStore, published: str, publish: Publish
) -> None:
    other = publish(2)
    promote(publisher_of(store), "cpu-fp32", published)
    with pytest.raises(ConflictError, match=f"leads to {published} by now, wanted 0123456789ab"):
        promote(publisher_of(store), "cpu-fp32", other, instead_of="0123456789ab")
    assert read_current(trust_of(store), "cpu-fp32").release_id == published
    assert promote(publisher_of(store), "cpu-fp32", other, instead_of=published).release_id == other


def test_promote_replaces_a_pointer_that_is_damaged(store: FolderStore, published: str) -> None:
    sign(store, pointer_path("cpu-fp32"), b"{")
    promote(publisher_of(store), "cpu-fp32", published)
    assert read_current(trust_of(store), "cpu-fp32").release_id == published


def test_promote_loses_and_says_so_when_somebody_moved_the_pointer_first(
    store: FolderStore, published: str, publish: Publish
) -> None:
    other = publish(2)
    raced = RacedStore(store.folder, lambda: promote(publisher_of(store), "cpu-fp32", other))
    with pytest.raises(ConflictError, match="somebody moved it from None; look again"):
        promote(publisher_of(raced), "cpu-fp32", published)
    assert read_current(trust_of(store), "cpu-fp32").release_id == other


def test_promote_goes_on_when_somebody_else_changed_something_else(
    store: FolderStore, published: str, publish: Publish
) -> None:
    raced = RacedStore(store.folder, lambda: publish(2))
    promote(publisher_of(raced), "cpu-fp32", published)
    assert read_current(trust_of(store), "cpu-fp32").release_id == published
    assert len(releases.published(publisher_of(store))) == 2


def test_promote_succeeds_when_its_own_write_arrived_twice(store: FolderStore, published: str) -> None:
    class Twice(FolderStore):
        def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
            etag = super().put(key, data, if_absent=if_absent, if_match=if_match)
            if key == "tuf/timestamp.json":
                super().put(key, data, if_match=if_match)
            return etag

    promote(publisher_of(Twice(store.folder)), "cpu-fp32", published)
    assert read_current(trust_of(store), "cpu-fp32").release_id == published


def test_whoever_is_killed_after_any_write_leaves_the_old_state_or_the_new_one(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str, tmp_path: Path
) -> None:
    promote(publisher_of(store), "cpu-fp32", published)
    new = replace(manifest, scores={"mse": 3})
    sources, trust = exported(store, release_files), trust_of(store)
    seen = []
    for writes in range(30):
        killed = KilledStore(store.folder, writes)
        with suppress(StoreUnavailableError):
            promote(publisher_of(killed), "cpu-fp32", publish_release(publisher_of(killed), new, sources))
        trust.refresh()
        pointer = read_current(trust, "cpu-fp32")
        assert fetch_release(store, pointer, tmp_path / "work").read_bytes() == b"content of cpu-fp32.xml"
        seen.append(pointer.release_id)
        if pointer.release_id != published:
            break
    assert seen[:-1] == [published] * (len(seen) - 1)
    assert seen[-1] == release_id_of(new)
    assert len(seen) > 4  # each of the writes was the last one once


def test_roll_back_gives_the_release_before_and_then_the_newer_one_again(
    store: FolderStore, published: str, publish: Publish
) -> None:
    other = publish(2)
    for release in (published, other):
        promote(publisher_of(store), "cpu-fp32", release)
    assert [roll_back(publisher_of(store), "cpu-fp32").release_id for _ in range(2)] == [published, other]


def test_roll_back_says_what_is_missing(store: FolderStore, published: str) -> None:
    with pytest.raises(NotStoredError, match="runs no release"):
        roll_back(publisher_of(store), "cpu-fp32")
    promote(publisher_of(store), "cpu-fp32", published)
    with pytest.raises(NotStoredError, match=f"runs {published}, and knows none before"):
        roll_back(publisher_of(store), "cpu-fp32")


def test_retire_removes_a_release_that_nothing_needs(store: FolderStore, published: str, publish: Publish) -> None:
    other = publish(2)
    retire(publisher_of(store), other)
    assert not is_signed(store, manifest_path(other))
    assert store.list(f"releases/{other}/") == []
    assert is_signed(store, manifest_path(published))
    with pytest.raises(NotStoredError, match=other):
        retire(publisher_of(store), other)


def test_retire_keeps_what_a_target_runs_or_ran_before_and_what_reports_are_awaited_on(
    store: FolderStore, published: str, publish: Publish
) -> None:
    second, awaited = publish(2), publish(3)
    for release in (published, second):
        promote(publisher_of(store), "cpu-fp32", release)
    await_reports(store, awaited, datetime.now(UTC) + timedelta(hours=1))
    for release, why in ((published, "ran it before"), (second, "runs it"), (awaited, "are awaited")):
        with pytest.raises(ConflictError, match=why):
            retire(publisher_of(store), release)
    store.put(f"awaited/{awaited}.json", b'{"until": 1.0}')
    retire(publisher_of(store), awaited)
    sweep(publisher_of(store))
    assert store.list("awaited/") == []


def test_retain_keeps_the_newest_and_what_is_needed(store: FolderStore, publish: Publish) -> None:
    made = [publish(day) for day in (1, 2, 3, 4, 5)]
    promote(publisher_of(store), "cpu-fp32", made[0])
    assert sorted(retain(publisher_of(store), 2)) == sorted(made[1:3])
    assert {one for one, _ in releases.published(publisher_of(store))} == {made[0], *made[3:]}


def test_sweep_removes_what_a_killed_publication_left_after_a_day(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    new = replace(manifest, scores={"mse": 3})
    sources = exported(store, release_files)
    with pytest.raises(StoreUnavailableError):
        publish_release(publisher_of(KilledStore(store.folder, 3)), new, sources)
    left = store.list(f"releases/{release_id_of(new)}/")
    assert len(left) == 2
    assert sweep(publisher_of(store)) == []
    assert store.list(f"releases/{release_id_of(new)}/") == left
    store.put(f"publishing/{release_id_of(new)}.json", b"20261101T063000.000000Z")
    assert sweep(publisher_of(store)) == [release_id_of(new)]
    assert store.list(f"releases/{release_id_of(new)}/") == store.list("publishing/") == []
    assert is_signed(store, manifest_path(published))


def test_promote_asked_again_after_its_answer_was_lost_says_the_same(
    store: FolderStore, published: str, publish: Publish
) -> None:
    """As a task that is tried again does; a roll-back would otherwise go forward again."""
    other = publish(2)
    for release in (published, other):
        promote(publisher_of(store), "cpu-fp32", release)
    current, before = before_of(publisher_of(store), "cpu-fp32")
    for _ in range(2):
        pointer = promote(publisher_of(store), "cpu-fp32", before, instead_of=current)
        assert (pointer.release_id, pointer.replaces) == (published, other)


def test_promote_of_a_first_release_does_not_replace_one_that_came_meanwhile(
    store: FolderStore, published: str, publish: Publish
) -> None:
    other = publish(2)
    promote(publisher_of(store), "cpu-fp32", other)
    with pytest.raises(ConflictError, match=f"leads to {other} by now"):
        promote(publisher_of(store), "cpu-fp32", published, instead_of=releases.NOTHING)


def test_a_pointer_that_is_signed_and_missing_is_told_from_none(store: FolderStore, published: str) -> None:
    promote(publisher_of(store), "cpu-fp32", published)
    (key,) = store.list("targets/")
    store.delete(key)
    with pytest.raises(DigestMismatchError, match="is signed, and missing"):
        read_current(trust_of(store), "cpu-fp32")
    with pytest.raises(ConflictError, match="promote a release for it first"):
        retire(publisher_of(store), published)
    promote(publisher_of(store), "cpu-fp32", published)
    assert read_current(trust_of(store), "cpu-fp32").release_id == published


def test_publish_release_restores_a_manifest_that_is_lost(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    (key,) = [key for key in store.list(f"releases/{published}/") if key.endswith("manifest.json")]
    store.delete(key)
    assert releases.published(publisher_of(store)) == []
    publish_release(publisher_of(store), manifest, exported(store, release_files))
    assert [one for one, _ in releases.published(publisher_of(store))] == [published]


def test_a_retirement_that_was_killed_is_finished_by_sweep(
    store: FolderStore, published: str, publish: Publish
) -> None:
    other = publish(2)
    for writes in range(2, 6):
        with suppress(StoreUnavailableError):
            retire(publisher_of(KilledStore(store.folder, writes)), other)
        if not is_signed(store, manifest_path(other)):
            break
    assert store.list(f"releases/{other}/") != []
    assert sweep(publisher_of(store)) == [other]
    assert store.list(f"releases/{other}/") == store.list("publishing/") == []
    assert is_signed(store, manifest_path(published))


def test_a_shorter_wait_does_not_end_a_longer_one(store: FolderStore, published: str) -> None:
    for hours in (24, 0):
        await_reports(store, published, datetime.now(UTC) + timedelta(hours=hours))
    with pytest.raises(ConflictError, match="are awaited"):
        retire(publisher_of(store), published)


@pytest.mark.parametrize("mark", [b"", b"yesterday", b"\xff"])
def test_marks_that_nobody_can_read_stop_nothing(store: FolderStore, published: str, mark: bytes) -> None:
    store.put("publishing/0123456789ab.json", mark)
    store.put("awaited/0123456789ab.json", mark)
    store.put("tuf/²³.targets.json", b"")
    assert sweep(publisher_of(store)) == []
    retire(publisher_of(store), published)
