from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.device.documents.manifest import Manifest, TurnedFiles, manifest_key, manifest_path, release_file_key
from infra.device.documents.pointer import Pointer, pointer_path
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import fetch_release, read_current, read_manifest
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote, publish_release
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import digests, exported

LATER = "20261123T063000.000000Z"


def test_fetch_release_gives_the_verified_ir(store: FolderStore, published: str, tmp_path: Path) -> None:
    pointer = promote(publisher_of(store), "cpu-fp32", published)
    for _ in range(2):
        ir_xml = fetch_release(store, pointer, tmp_path / "work")
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
    return promote(
        publisher_of(store), "cpu-fp32", publish_release(publisher_of(store), both, exported(store, release_files))
    )


def test_fetch_release_gives_the_ir_of_the_turned_shape_beside_the_main_one(
    store: FolderStore, both_orientations: Pointer, tmp_path: Path
) -> None:
    ir_xml = fetch_release(store, both_orientations, tmp_path / "work")
    assert ir_xml.name == "cpu-fp32.xml"
    found = {path.name: path.read_bytes() for path in ir_xml.parent.iterdir()}
    names = [f"{stem}.{ending}" for stem in ("cpu-fp32", "turned") for ending in ("xml", "bin")]
    assert found == {name: b"content of " + name.encode() for name in names}


def test_a_release_is_not_fetched_without_its_second_ir(
    store: FolderStore, both_orientations: Pointer, tmp_path: Path
) -> None:
    store.delete(release_file_key(both_orientations.release_id, "model/turned.bin"))
    with pytest.raises(NotStoredError, match=r"turned\.bin"):
        fetch_release(store, both_orientations, tmp_path / "work")
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("content", [b"content of CPU-fp32.bin", b"content", b""], ids=["same size", "cut", "empty"])
def test_fetch_release_leaves_nothing_when_a_file_is_damaged(
    store: FolderStore, published: str, tmp_path: Path, content: bytes
) -> None:
    pointer = promote(publisher_of(store), "cpu-fp32", published)
    store.put(release_file_key(published, "model/cpu-fp32.bin"), content)
    with pytest.raises(DigestMismatchError, match=r"cpu-fp32\.bin"):
        fetch_release(store, pointer, tmp_path / "work")
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_fetch_release_does_not_download_more_than_the_manifest_says(
    store: FolderStore, published: str, tmp_path: Path, little_room: None
) -> None:
    pointer = promote(publisher_of(store), "cpu-fp32", published)
    (store.folder / release_file_key(published, "model/cpu-fp32.bin")).unlink()
    with open(store.folder / release_file_key(published, "model/cpu-fp32.bin"), "wb") as endless:
        endless.truncate(60_000)
    with pytest.raises(ContractError, match=r"cpu-fp32\.bin.* has 60000 bytes, wanted at most 23"):
        fetch_release(store, pointer, tmp_path / "work")
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []


def test_fetch_release_refuses_a_manifest_that_the_pointer_does_not_name(
    store: FolderStore, manifest: Manifest, published: str, tmp_path: Path
) -> None:
    pointer = promote(publisher_of(store), "cpu-fp32", published)
    store.put(manifest_key(published, pointer.manifest_sha256), replace(manifest, created_at=LATER).to_json())
    with pytest.raises(DigestMismatchError, match="manifest"):
        fetch_release(store, pointer, tmp_path / "work")


def test_read_manifest_refuses_the_content_of_another_release(
    store: FolderStore, manifest: Manifest, published: str
) -> None:
    sign(store, manifest_path(published), replace(manifest, scores={}).to_json())
    with pytest.raises(DigestMismatchError, match=published):
        read_manifest(trust_of(store), published)


def test_read_current_refuses_the_pointer_of_another_target(store: FolderStore) -> None:
    sign(store, pointer_path("cpu-fp32"), Pointer("cpu-int8", "0123456789ab", "0" * 64).to_json())
    with pytest.raises(ContractError, match="cpu-int8"):
        read_current(trust_of(store), "cpu-fp32")
