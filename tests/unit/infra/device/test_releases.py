from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.device.documents.manifest import Manifest, TurnedFiles, manifest_key, manifest_path, release_file_key
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.errors import ContractError, DigestMismatchError, NotStoredError
from infra.device.releases import current_for, fetch_release, read_current, read_manifest
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


@pytest.fixture
def rolling_out(store: FolderStore, manifest: Manifest, release_files: dict[str, Path]) -> tuple[Pointer, Pointer]:
    """The pointer before, and the one that reaches half of the devices."""
    before, new = (
        publish_release(publisher_of(store), one, exported(store, release_files))
        for one in (manifest, replace(manifest, scores={"mse": 0.02}))
    )
    first = promote(publisher_of(store), "cpu-fp32", before)
    half = replace(promote(publisher_of(store), "cpu-fp32", new), share=0.5)
    sign(store, pointer_path("cpu-fp32"), half.to_json())
    return first, half


def test_current_for_gives_a_share_of_the_devices_the_release_and_all_others_the_one_before(
    store: FolderStore, rolling_out: tuple[Pointer, Pointer]
) -> None:
    first, half = rolling_out
    found = {device: current_for(trust_of(store), "cpu-fp32", device) for device in map(str, range(8))}
    for device, pointer in found.items():
        assert pointer.leads_where(half if half.is_for(device) else first)
    assert {pointer.release_id for pointer in found.values()} == {first.release_id, half.release_id}


def test_current_for_gives_a_device_its_own_pin(store: FolderStore, rolling_out: tuple[Pointer, Pointer]) -> None:
    first, half = rolling_out
    inside = next(device for device in map(str, range(100)) if half.is_for(device))
    sign(store, pin_path("cpu-fp32", inside), first.to_json())
    assert current_for(trust_of(store), "cpu-fp32", inside) == first
    sign(store, pin_path("cpu-fp32", inside), replace(first, target="cpu-int8").to_json())
    with pytest.raises(ContractError, match="got one of 'cpu-int8'"):
        current_for(trust_of(store), "cpu-fp32", inside)


def test_current_for_refuses_a_share_of_what_replaces_a_release_that_nobody_signed(
    store: FolderStore, rolling_out: tuple[Pointer, Pointer]
) -> None:
    _, half = rolling_out
    outside = next(device for device in map(str, range(100)) if not half.is_for(device))
    sign(store, pointer_path("cpu-fp32"), replace(half, replaces="0123456789ab").to_json())
    with pytest.raises(ContractError, match="replaces release 0123456789ab, which is not signed"):
        current_for(trust_of(store), "cpu-fp32", outside)


def test_current_for_has_nothing_where_nothing_was_promoted(store: FolderStore, published: str) -> None:
    with pytest.raises(NotStoredError):
        current_for(trust_of(store), "cpu-fp32", "pi")
