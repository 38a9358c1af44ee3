from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra.errors import ContractError
from infra.manifest import Manifest, Pointer, ReleaseFile, release_id

LATER = "20261123T063000.000000Z"


def test_manifest_from_json_gives_an_equal_manifest(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_pointer_from_json_gives_an_equal_pointer() -> None:
    pointer = Pointer("cpu-fp32", "0123456789ab", "0" * 64)
    assert Pointer.from_json(pointer.to_json()) == pointer


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
        ("model", "../x"),
        ("candidate_id", ""),
        ("created_at", "now"),
        ("scores", {"mse": "low"}),
        ("targets", {}),
        ("targets", {"../x": {}}),
        ("files", []),
        ("files", [{"path": "../../etc/passwd", "sha256": "0" * 64, "size_bytes": 1}]),
        ("files", [{"path": "/etc/passwd", "sha256": "0" * 64, "size_bytes": 1}]),
        ("files", [{"path": "manifest.json", "sha256": "0" * 64, "size_bytes": 1}]),
        ("files", [{"path": "a.xml", "sha256": "0" * 63, "size_bytes": 1}]),
        ("files", [{"path": "a.xml", "sha256": "0" * 64, "size_bytes": -1}]),
        ("files", [{"path": "a.xml", "sha256": "0" * 64, "size_bytes": 1}] * 2),
        ("provenance", None),
        ("surprise", 1),
    ],
)
def test_manifest_from_json_names_the_field_that_is_wrong(manifest: Manifest, field: str, value: object) -> None:
    members = {**json.loads(manifest.to_json()), field: value}
    with pytest.raises(ContractError, match=field):
        Manifest.from_json(json.dumps(members).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"ir_bin": "model/other.bin"},
        {"ir_xml": "model/a.txt"},
        {"input_shape": [0]},
        {"ir_xml": "m.xml", "ir_bin": "m.bin"},
    ],
    ids=["two names", "no xml", "empty shape", "not among files"],
)
def test_manifest_from_json_refuses_a_target_that_cannot_run(manifest: Manifest, change: dict[str, object]) -> None:
    members = json.loads(manifest.to_json())
    members["targets"]["cpu-fp32"].update(change)
    with pytest.raises(ContractError, match=r"manifest\.targets"):
        Manifest.from_json(json.dumps(members).encode())


def test_release_id_ignores_time_and_order_of_files(manifest: Manifest) -> None:
    same = replace(manifest, created_at=LATER, files=manifest.files[::-1])
    assert release_id(same) == release_id(manifest)


def test_release_id_survives_json_when_scores_are_whole_numbers(manifest: Manifest) -> None:
    manifest = replace(manifest, scores={"parameters": 6})
    assert release_id(Manifest.from_json(manifest.to_json())) == release_id(manifest)


@pytest.mark.parametrize(
    "change", [{"scores": {"mse": 0.02}}, {"provenance": {"seed": 8}}, {"candidate_id": "ba9876543210"}]
)
def test_release_id_changes_with_the_content(manifest: Manifest, change: dict[str, object]) -> None:
    assert release_id(replace(manifest, **change)) != release_id(manifest)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["", "a//b", "../a", "a/../b", "/a", ".hidden", "a\\b", "a b"])
def test_release_file_refuses_an_unsafe_path(path: str) -> None:
    with pytest.raises(ContractError, match="path"):
        ReleaseFile(path, "0" * 64, 1)
