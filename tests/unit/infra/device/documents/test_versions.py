"""Documents of every earlier version are read, and those of a later one are refused in words.

`version_1/` holds what version 0.1.0 wrote: one release with its pointer, and two reports on it. `version_2/` holds the
manifest of a release whose targets have one IR each, `version_3/` one of a release that states no licence.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.device.documents.document import Document
from infra.device.documents.file_digest import FileDigest
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import Golden, Manifest, TargetFiles, release_id_of
from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError
from infra.device.releases import fetch_release, read_current, read_manifest
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import import_release, promote
from tests.signing import publisher_of, trust_of

VERSION_1, VERSION_2, VERSION_3 = (Path(__file__).parent / f"version_{number}" for number in (1, 2, 3))
KINDS: dict[str, type[Document]] = {
    "manifest.json": Manifest,
    "pointer.json": Pointer,
    "report.json": LatencyReport,
    "failed_report.json": LatencyReport,
}
RELEASE_ID = "0320fb8bccac"  # what version 0.1.0 called the release
RELEASE_ID_2 = "5ef86e44c3e5"  # what a writer of version 2 called its
RELEASE_ID_3 = "0ea62d576988"  # what a writer of version 3 called its


@pytest.fixture
def old_store(store: FolderStore) -> FolderStore:
    """A store as version 0.1.0 left it."""
    store.put(f"releases/{RELEASE_ID}/manifest.json", (VERSION_1 / "manifest.json").read_bytes())
    for name in ("modnet-cpu-fp32.xml", "modnet-cpu-fp32.bin", "modnet.onnx"):
        store.put(f"releases/{RELEASE_ID}/{name}", b"content of " + name.encode())
    store.put("targets/cpu-fp32/current.json", (VERSION_1 / "pointer.json").read_bytes())
    for name in ("report.json", "failed_report.json"):
        report = LatencyReport.from_json((VERSION_1 / name).read_bytes())
        store.put(report.key(), (VERSION_1 / name).read_bytes())
    return store


@pytest.mark.parametrize("name", KINDS)
def test_version_1_is_read_and_written_again_as_it_was(name: str) -> None:
    written = (VERSION_1 / name).read_bytes()
    document = KINDS[name].from_json(written)
    assert json.loads(document.to_json()).keys() == json.loads(written).keys()
    assert KINDS[name].from_json(document.to_json()) == document


def test_a_manifest_of_version_1_says_what_version_2_says() -> None:
    manifest = Manifest.from_json((VERSION_1 / "manifest.json").read_bytes())
    assert manifest.schema_version == 1
    assert (manifest.workload, manifest.network_id) == ("matting", "0123456789ab")
    assert manifest.files["modnet.onnx"] == FileDigest(
        "639c5794642e77053a7d030ee60fba7eefbbe9a6e8a34564a2c99db296f83479", 22
    )
    assert release_id_of(manifest) == RELEASE_ID


def test_a_manifest_of_version_2_is_read_and_written_again_as_it_was() -> None:
    written = (VERSION_2 / "manifest.json").read_bytes()
    manifest = Manifest.from_json(written)
    assert (manifest.schema_version, manifest.to_json()) == (2, written)
    assert manifest.targets["cpu-fp32"].turned is None
    assert release_id_of(manifest) == RELEASE_ID_2


def test_a_manifest_of_version_3_is_read_and_written_again_as_it_was() -> None:
    written = (VERSION_3 / "manifest.json").read_bytes()
    manifest = Manifest.from_json(written)
    assert (manifest.schema_version, manifest.to_json(), manifest.licence) == (3, written, None)
    turned = manifest.targets["cpu-fp32"].turned
    assert turned is not None
    assert turned.input_shape == (1, 3, 320, 480)
    assert release_id_of(manifest) == RELEASE_ID_3


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2, VERSION_3], ids=["1", "2", "3"])
def test_an_earlier_manifest_states_no_licence(version: Path) -> None:
    members = {**json.loads((version / "manifest.json").read_bytes()), "licence": "MIT"}
    with pytest.raises(ContractError, match=r"manifest: unknown fields \['licence'\]"):
        Manifest.from_json(json.dumps(members).encode())


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2], ids=["1", "2"])
def test_an_earlier_manifest_has_no_second_ir(version: Path) -> None:
    members = json.loads((version / "manifest.json").read_bytes())
    members["targets"]["cpu-fp32"]["turned"] = None
    with pytest.raises(ContractError, match=r"manifest\.targets\.cpu-fp32: unknown fields \['turned'\]"):
        Manifest.from_json(json.dumps(members).encode())


def test_an_unsigned_release_of_version_1_is_signed_promoted_fetched_and_read_with_its_reports(
    old_store: FolderStore, tmp_path: Path
) -> None:
    publisher, trust = publisher_of(old_store), trust_of(old_store)
    assert import_release(publisher, RELEASE_ID) == RELEASE_ID
    promote(publisher, "cpu-fp32", RELEASE_ID)
    pointer = read_current(trust, "cpu-fp32")
    assert fetch_release(old_store, pointer, tmp_path / "work").read_bytes() == b"content of modnet-cpu-fp32.xml"
    assert set(read_manifest(trust, RELEASE_ID).targets) == {"cpu-fp32"}
    reports, refused = read_reports(old_store, RELEASE_ID)
    assert ([report.status for report in reports], refused) == (["measured", "failed"], [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "esrgan"),
        ("workload", "matting"),
        ("network_id", "0123456789ab"),
        ("files", {"modnet.onnx": {"sha256": "0" * 64, "size_bytes": 1}}),
        ("files", [{"path": "modnet.onnx", "sha256": "0" * 64, "size_bytes": 1}] * 2),
        ("files", [{"path": "../x", "sha256": "0" * 64, "size_bytes": 1}]),
        ("files", [{"path": "modnet.onnx", "sha256": "0" * 63, "size_bytes": 1}]),
    ],
)
def test_a_manifest_of_version_1_is_held_to_the_form_of_version_1(field: str, value: object) -> None:
    members = {**json.loads((VERSION_1 / "manifest.json").read_bytes()), field: value}
    with pytest.raises(ContractError, match=field):
        Manifest.from_json(json.dumps(members).encode())


def test_a_manifest_of_version_1_names_its_own_field_when_it_is_missing() -> None:
    members = json.loads((VERSION_1 / "manifest.json").read_bytes())
    del members["candidate_id"]
    with pytest.raises(ContractError, match=r"manifest\.candidate_id: missing"):
        Manifest.from_json(json.dumps(members).encode())


@pytest.mark.parametrize("name", KINDS)
def test_a_later_version_is_refused_in_words_whatever_else_it_holds(name: str) -> None:
    kind = KINDS[name]
    later = {"schema_version": kind.newest + 1, "signatures": [], "what_nobody_knows_yet": None}
    with pytest.raises(ContractError) as refused:
        kind.from_json(json.dumps(later).encode())
    assert str(refused.value) == (
        f"{kind.kind}.schema_version: got {kind.newest + 1}, wanted at most {kind.newest}; "
        "its writer is newer than its reader: update the reader"
    )


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("version", [0, -1, True, "1", None, 1.0])
def test_what_is_no_version_is_refused(name: str, version: object) -> None:
    members = {**json.loads((VERSION_1 / name).read_bytes()), "schema_version": version}
    with pytest.raises(ContractError, match="schema_version"):
        KINDS[name].from_json(json.dumps(members).encode())


def test_a_pointer_of_an_earlier_version_is_for_every_device_and_stays_as_it_was() -> None:
    members = {
        "target": "cpu-int8",
        "release_id": "0123456789ab",
        "manifest_sha256": "a" * 64,
        "replaces": "ba9876543210",
        "moved_at": "20261129T063000.000000Z",
        "schema_version": 2,
    }
    pointer = Pointer.from_json(json.dumps(members).encode())
    assert (pointer.share, json.loads(pointer.to_json())) == (1.0, members)
    with pytest.raises(ContractError, match="unknown fields \\['share'\\]"):
        Pointer.from_json(json.dumps({**members, "share": 0.5}).encode())


def test_a_share_of_devices_keeps_those_that_a_smaller_one_had() -> None:
    names = [f"kitchen-{number}" for number in range(1000)]

    def chosen(share: float, release_id: str = "0123456789ab") -> set[str]:
        pointer = Pointer("cpu-int8", release_id, "a" * 64, "ba9876543210", share)
        return {name for name in names if pointer.is_for(name)}

    assert chosen(0.1) < chosen(0.5) < chosen(1.0) == set(names)
    assert 70 < len(chosen(0.1)) < 130
    assert chosen(0.1) != chosen(0.1, "1123456789ab")


@pytest.mark.parametrize(("share", "replaces"), [(0.0, "ba9876543210"), (1.5, "ba9876543210"), (0.5, None)])
def test_a_share_is_refused_that_leaves_devices_without_a_release(share: float, replaces: str | None) -> None:
    with pytest.raises(ContractError, match="pointer.share: got"):
        Pointer("cpu-int8", "0123456789ab", "a" * 64, replaces, share)


def test_a_manifest_of_version_5_names_golden_files_and_earlier_ones_do_not() -> None:
    target = TargetFiles("m.xml", "m.bin", "x", (1, 3, 32, 32), "fp32", golden=Golden("golden.npz", 1e-4))
    digest = FileDigest("a" * 64, 1)
    files = dict.fromkeys(target.paths, digest)
    manifest = Manifest("matting", "net", {"cpu-fp32": target}, files, {}, {})
    assert target.paths == ("m.xml", "m.bin", "golden.npz")
    assert Manifest.from_json(manifest.to_json()) == manifest
    members = {**json.loads(manifest.to_json()), "schema_version": 4}
    with pytest.raises(ContractError, match="unknown fields \\['golden'\\]"):
        Manifest.from_json(json.dumps(members).encode())
    for path, tolerance in (("../golden.npz", 1e-4), ("golden.npz", 0.0), ("golden.npz", 1e9)):
        with pytest.raises(ContractError, match="golden"):
            Golden(path, tolerance)
