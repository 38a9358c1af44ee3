from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.device import releases
from infra.device.documents.manifest import Manifest, TurnedFiles, manifest_key, release_file_key, release_id_of
from infra.device.documents.pointer import Pointer, pointer_key
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, NotStoredError
from infra.device.stores.folder_store import FolderStore
from tests.unit.infra.exported import digests, exported

LATER = "20261123T063000.000000Z"


def test_publish_release_stores_every_file_and_the_manifest(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    assert published == release_id_of(manifest)
    assert store.list(f"releases/{published}/") == sorted(
        [manifest_key(published), *(release_file_key(published, path) for path in release_files)]
    )
    assert releases.read_manifest(store, published) == manifest


def test_publish_release_changes_nothing_when_repeated_later(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    again = releases.publish_release(store, replace(manifest, created_at=LATER), exported(store, release_files))
    assert again == published
    assert releases.read_manifest(store, published).created_at == manifest.created_at


def test_publish_release_completes_what_a_kill_left(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    store.delete(manifest_key(published))
    store.delete(release_file_key(published, "model/model.onnx"))
    releases.publish_release(store, manifest, exported(store, release_files))
    assert releases.promote(store, "cpu-fp32", published).release_id == published


def test_publish_release_refuses_another_file_under_its_key(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    store.put(release_file_key(release_id_of(manifest), "model/cpu-fp32.bin"), b"something else")
    with pytest.raises(DigestMismatchError, match=r"cpu-fp32\.bin"):
        releases.publish_release(store, manifest, exported(store, release_files))
    assert not store.exists(manifest_key(release_id_of(manifest)))


@pytest.mark.parametrize("content", [b"CONTENT of model.onnx", b"cut", b""])
def test_publish_release_refuses_a_source_that_changed(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], content: bytes
) -> None:
    sources = exported(store, release_files)
    store.put(sources["model/model.onnx"], content)
    with pytest.raises(DigestMismatchError, match=r"model\.onnx"):
        releases.publish_release(store, manifest, sources)
    assert not store.exists(release_file_key(release_id_of(manifest), "model/model.onnx"))
    assert not store.exists(manifest_key(release_id_of(manifest)))


def test_publish_release_refuses_a_source_that_is_gone(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    sources = exported(store, release_files)
    store.delete(sources["model/model.onnx"])
    with pytest.raises(NotStoredError, match=r"model\.onnx"):
        releases.publish_release(store, manifest, sources)
    assert not store.exists(manifest_key(release_id_of(manifest)))


def test_publish_release_refuses_other_paths_than_the_manifest(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path]
) -> None:
    del release_files["model/model.onnx"]
    with pytest.raises(ContractError, match=r"model\.onnx"):
        releases.publish_release(store, manifest, exported(store, release_files))
    assert store.list("releases/") == []


def test_promote_moves_the_pointer_forth_and_back(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    other = releases.publish_release(store, replace(manifest, scores={"mse": 0.02}), exported(store, release_files))
    for release in (published, other, published):
        releases.promote(store, "cpu-fp32", release)
        assert releases.read_current(store, "cpu-fp32").release_id == release


def test_promote_leaves_the_pointer_when_it_is_there_already(store: FolderStore, published: str) -> None:
    releases.promote(store, "cpu-fp32", published)
    before = store.get(pointer_key("cpu-fp32"))
    releases.promote(store, "cpu-fp32", published)
    assert store.get(pointer_key("cpu-fp32")) == before


@pytest.mark.parametrize("path", ["model/cpu-fp32.bin", "model/model.onnx"])
def test_promote_refuses_a_release_with_a_missing_file(store: FolderStore, published: str, path: str) -> None:
    store.delete(release_file_key(published, path))
    with pytest.raises(NotStoredError, match=path):
        releases.promote(store, "cpu-fp32", published)
    assert not store.exists(pointer_key("cpu-fp32"))


def test_promote_refuses_a_release_that_was_never_published(store: FolderStore) -> None:
    with pytest.raises(NotStoredError):
        releases.promote(store, "cpu-fp32", "0123456789ab")


def test_promote_refuses_a_target_that_the_release_has_not(store: FolderStore, published: str) -> None:
    with pytest.raises(ContractError, match="ncs2-fp16"):
        releases.promote(store, "ncs2-fp16", published)


class _RacedStore(FolderStore):
    """A store in which somebody else writes the pointer just before us."""

    def __init__(self, folder: Path, rival: bytes) -> None:
        super().__init__(folder)
        self._rival = rival

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        super().put(key, self._rival)
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


def test_promote_raises_when_somebody_moved_the_pointer_first(store: FolderStore, published: str) -> None:
    rival = Pointer("cpu-fp32", "ffffffffffff", "f" * 64)
    with pytest.raises(ConflictError):
        releases.promote(_RacedStore(store.folder, rival.to_json()), "cpu-fp32", published)
    assert releases.read_current(store, "cpu-fp32") == rival


def test_promote_in_the_place_of_a_release_refuses_to_replace_another_one(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], published: str
) -> None:
    other = releases.publish_release(store, replace(manifest, scores={"mse": 0.02}), exported(store, release_files))
    releases.promote(store, "cpu-fp32", published)
    with pytest.raises(ConflictError, match=f"leads to release {published} by now, wanted 0123456789ab"):
        releases.promote(store, "cpu-fp32", other, instead_of="0123456789ab")
    assert releases.read_current(store, "cpu-fp32").release_id == published
    assert releases.promote(store, "cpu-fp32", other, instead_of=published).release_id == other


def test_promote_succeeds_when_its_own_write_arrived_twice(store: FolderStore, published: str) -> None:
    own = releases.promote(store, "cpu-fp32", published)
    store.delete(pointer_key("cpu-fp32"))
    raced = _RacedStore(store.folder, own.to_json())
    assert releases.promote(raced, "cpu-fp32", published) == own


def test_read_current_refuses_the_pointer_of_another_target(store: FolderStore) -> None:
    store.put(pointer_key("cpu-fp32"), Pointer("cpu-int8", "0123456789ab", "0" * 64).to_json())
    with pytest.raises(ContractError, match="cpu-int8"):
        releases.read_current(store, "cpu-fp32")


def test_fetch_release_gives_the_verified_ir(store: FolderStore, published: str, tmp_path: Path) -> None:
    pointer = releases.promote(store, "cpu-fp32", published)
    for _ in range(2):
        ir_xml = releases.fetch_release(store, pointer, tmp_path / "work")
        assert ir_xml.read_bytes() == b"content of cpu-fp32.xml"
        assert ir_xml.with_suffix(".bin").read_bytes() == b"content of cpu-fp32.bin"


@pytest.fixture
def both_orientations(
    store: FolderStore, manifest: Manifest, release_files: dict[str, Path], tmp_path: Path
) -> Pointer:
    """A promoted release whose target has a second IR."""
    for ending in ("xml", "bin"):
        path = tmp_path / "exported" / f"turned.{ending}"
        path.write_bytes(b"content of " + path.name.encode())
        release_files[f"model/{path.name}"] = path
    turned = TurnedFiles("model/turned.xml", "model/turned.bin", (1, 3, 352, 512))
    target = replace(manifest.targets["cpu-fp32"], input_shape=(1, 3, 512, 352), turned=turned)
    both = replace(manifest, targets={"cpu-fp32": target}, files=digests(release_files))
    return releases.promote(store, "cpu-fp32", releases.publish_release(store, both, exported(store, release_files)))


def test_fetch_release_gives_the_ir_of_the_turned_shape_beside_the_main_one(
    store: FolderStore, both_orientations: Pointer, tmp_path: Path
) -> None:
    ir_xml = releases.fetch_release(store, both_orientations, tmp_path / "work")
    assert ir_xml.name == "cpu-fp32.xml"
    found = {path.name: path.read_bytes() for path in ir_xml.parent.iterdir()}
    names = [f"{stem}.{ending}" for stem in ("cpu-fp32", "turned") for ending in ("xml", "bin")]
    assert found == {name: b"content of " + name.encode() for name in names}


def test_a_release_is_neither_promoted_nor_fetched_without_its_second_ir(
    store: FolderStore, both_orientations: Pointer, tmp_path: Path
) -> None:
    store.delete(release_file_key(both_orientations.release_id, "model/turned.bin"))
    with pytest.raises(NotStoredError, match=r"files missing: \['model/turned.bin'\]"):
        releases.promote(store, "cpu-fp32", both_orientations.release_id)
    with pytest.raises(NotStoredError, match=r"turned\.bin"):
        releases.fetch_release(store, both_orientations, tmp_path / "work")
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("content", [b"content of CPU-fp32.bin", b"content", b""], ids=["same size", "cut", "empty"])
def test_fetch_release_leaves_nothing_when_a_file_is_damaged(
    store: FolderStore, published: str, tmp_path: Path, content: bytes
) -> None:
    pointer = releases.promote(store, "cpu-fp32", published)
    store.put(release_file_key(published, "model/cpu-fp32.bin"), content)
    with pytest.raises(DigestMismatchError, match=r"cpu-fp32\.bin"):
        releases.fetch_release(store, pointer, tmp_path / "work")
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_fetch_release_does_not_download_more_than_the_manifest_says(
    store: FolderStore, published: str, tmp_path: Path, little_room: None
) -> None:
    pointer = releases.promote(store, "cpu-fp32", published)
    (store.folder / release_file_key(published, "model/cpu-fp32.bin")).unlink()
    with open(store.folder / release_file_key(published, "model/cpu-fp32.bin"), "wb") as endless:
        endless.truncate(60_000)
    with pytest.raises(ContractError, match=r"cpu-fp32\.bin.* has 60000 bytes, wanted at most 23"):
        releases.fetch_release(store, pointer, tmp_path / "work")
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_fetch_release_refuses_a_manifest_that_the_pointer_does_not_name(
    store: FolderStore, manifest: Manifest, published: str, tmp_path: Path
) -> None:
    pointer = releases.promote(store, "cpu-fp32", published)
    store.put(manifest_key(published), replace(manifest, created_at=LATER).to_json())
    with pytest.raises(DigestMismatchError, match="manifest"):
        releases.fetch_release(store, pointer, tmp_path / "work")


def test_read_manifest_refuses_the_content_of_another_release(
    store: FolderStore, manifest: Manifest, published: str
) -> None:
    store.put(manifest_key(published), replace(manifest, scores={}).to_json())
    with pytest.raises(DigestMismatchError, match=published):
        releases.read_manifest(store, published)
