from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra.device.documents.manifest import Manifest, TurnedFiles, release_id_of
from infra.device.documents.pointer import Pointer
from infra.device.errors import ContractError

LATER = "20261123T063000.000000Z"
TURNED = {"ir_xml": "model/turned.xml", "ir_bin": "model/turned.bin", "input_shape": [1, 3, 352, 512]}
UNSAFE_PATHS = ["", "a//b", "../a", "a/../b", "/etc/passwd", ".hidden", "a\\b", "a b"]


def test_manifest_from_json_gives_an_equal_manifest(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("licence", ["Apache-2.0", "LicenseRef-Ours", "GPL-2.0+ OR (MIT AND CC-BY-4.0)"])
def test_a_manifest_states_a_licence(manifest: Manifest, licence: str) -> None:
    stated = replace(manifest, licence=licence)
    assert Manifest.from_json(stated.to_json()) == stated


def test_a_target_may_have_a_second_ir_of_its_shape_turned(manifest: Manifest) -> None:
    turned = TurnedFiles("model/turned.xml", "model/turned.bin", (1, 3, 352, 512))
    target = replace(manifest.targets["cpu-fp32"], input_shape=(1, 3, 512, 352), turned=turned)
    files = {**manifest.files, **dict.fromkeys(target.paths[2:], manifest.files["model/model.onnx"])}
    both = replace(manifest, targets={"cpu-fp32": target}, files=files)
    assert Manifest.from_json(both.to_json()) == both
    assert json.loads(both.to_json())["targets"]["cpu-fp32"]["turned"] == TURNED
    assert release_id_of(both) != release_id_of(manifest)


def test_pointer_from_json_gives_an_equal_pointer() -> None:
    pointer = Pointer("cpu-fp32", "0123456789ab", "0" * 64)
    assert Pointer.from_json(pointer.to_json()) == pointer


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 0),
        ("schema_version", 6),
        ("schema_version", "4"),
        ("workload", "../x"),
        ("model", "modnet"),
        ("network_id", ""),
        ("candidate_id", "0123456789ab"),
        ("created_at", "now"),
        ("scores", {"mse": "low"}),
        ("targets", {}),
        ("targets", {"../x": {}}),
        ("files", {}),
        ("files", []),
        *(("files", {path: {"sha256": "0" * 64, "size_bytes": 1}}) for path in UNSAFE_PATHS),
        ("files", {"manifest.json": {"sha256": "0" * 64, "size_bytes": 1}}),
        ("files", {"a.xml": {"sha256": "0" * 63, "size_bytes": 1}}),
        ("files", {"a.xml": {"sha256": "0" * 64, "size_bytes": -1}}),
        ("files", {"a.xml": {"sha256": "0" * 64, "size_bytes": 1, "path": "a.xml"}}),
        ("provenance", None),
        ("licence", 1),
        ("licence", ""),
        ("licence", "MIT\nApache-2.0"),
        ("licence", " MIT"),
        ("licence", "M" * 201),
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
        {"turned": {}},
        {"turned": {**TURNED, "input_shape": [1, 3, 512, 352]}},
        {"turned": {**TURNED, "input_shape": [1, 3, 352, 511]}},
        {"turned": {**TURNED, "ir_bin": "model/cpu-fp32.bin"}},
        {"turned": {**TURNED, "precision": "fp32"}},
        {"turned": {**TURNED, "ir_xml": "t.xml", "ir_bin": "t.bin"}},
    ],
    ids=["two names", "no xml", "empty shape", "not among files"]
    + [f"turned: {what}" for what in ("nothing", "not turned", "another size", "two names", "more", "no file")],
)
def test_manifest_from_json_refuses_a_target_that_cannot_run(manifest: Manifest, change: dict[str, object]) -> None:
    members = json.loads(manifest.to_json())
    members["targets"]["cpu-fp32"].update({"input_shape": [1, 3, 512, 352], **change})
    with pytest.raises(ContractError, match=r"manifest\.targets"):
        Manifest.from_json(json.dumps(members).encode())


def test_release_id_ignores_time_and_order_of_files(manifest: Manifest) -> None:
    same = replace(manifest, created_at=LATER, files=dict(reversed(manifest.files.items())))
    assert release_id_of(same) == release_id_of(manifest)


def test_release_id_survives_json_when_scores_are_whole_numbers(manifest: Manifest) -> None:
    manifest = replace(manifest, scores={"parameters": 6})
    assert release_id_of(Manifest.from_json(manifest.to_json())) == release_id_of(manifest)


@pytest.mark.parametrize(
    "change",
    [{"scores": {"mse": 0.02}}, {"provenance": {"seed": 8}}, {"network_id": "ba9876543210"}, {"licence": "MIT"}],
)
def test_release_id_changes_with_the_content(manifest: Manifest, change: dict[str, object]) -> None:
    assert release_id_of(replace(manifest, **change)) != release_id_of(manifest)  # type: ignore[arg-type]
