"""`modnet release show` on a folder store: every release is shown, whichever version wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.device.documents.manifest import Manifest, TargetFiles, manifest_path
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote, publish_release
from modnet.configs import ExportConfig, PruningConfig
from modnet.records import DataOrigin, LegacyCheck, NetworkOrigin, Provenance, PruningStep
from tasks.cli import main
from tests.signing import publisher_of, sign
from tests.unit.infra.exported import digests, exported

VERSION_1 = Path(__file__).parents[2] / "infra/device/documents/version_1/manifest.json"
PROVENANCE = Provenance(
    reason="the fastest within 1.1 times the error",
    dataset=DataOrigin(
        dataset_id="d" * 12, source="portraits.zip", sha256="1" * 64, is_synthetic=False, fit=30, tune=4, val=6
    ),
    base=NetworkOrigin(network_id="b" * 12, sha256="2" * 64, origin="given as base.safetensors", made={"seed": 7}),
    start=None,
    steps=(
        PruningStep(
            network_id="c" * 12,
            sha256="3" * 64,
            plan_sha256="4" * 64,
            pruning=PruningConfig.from_word("1.5G"),
            retrain={"epochs": 3, "augmentation": {"flip": 0.5}},
            seed=11,
        ),
    ),
    parameters=1_120_137,
    macs=1_499_348_992,
    export=ExportConfig(targets=("cpu-fp32",)),
    versions={"python": "3.11.7", "openvino": "2026.4.1"},
    scores_protocol="device-512",
    target_scores_protocol="device-480x320",
    refused={"ncs2-fp16": "the tune error is too high"},
    legacy={"cpu-fp32": (LegacyCheck(by="openvino 2021.4.2", status="failed", words="no such operation"),)},
)

Publish = Callable[..., str]
Show = Callable[..., str]


@pytest.fixture
def store(own_store: FolderStore) -> FolderStore:
    return own_store


@pytest.fixture
def publish(store: FolderStore, tmp_path: Path) -> Publish:
    """Publishes a release of three small files, whose manifest differs by what is given."""
    files = {name: tmp_path / name for name in ("modnet.xml", "modnet.bin", "sbom.cdx.json")}
    for name, path in files.items():
        path.write_bytes(f"content of {name}".encode())
    usual = Manifest(
        workload="matting",
        network_id="c" * 12,
        targets={"cpu-fp32": TargetFiles("modnet.xml", "modnet.bin", "input", (1, 3, 480, 320), "fp32")},
        files=digests(files),
        scores={"val_mse": 0.0125},
        provenance=PROVENANCE.model_dump(mode="json"),
        licence="LicenseRef-Ours",
    )

    def publish(**changes: Any) -> str:
        return publish_release(publisher_of(store), replace(usual, **changes), exported(store, files))

    return publish


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    def show(*arguments: str) -> str:
        code, captured = main(["release", "show", *arguments]), capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return show


def test_a_release_is_shown_with_all_that_it_says_of_itself(store: FolderStore, publish: Publish, show: Show) -> None:
    release_id = publish()
    promote(publisher_of(store), "cpu-fp32", release_id)
    said = show("--target", "cpu-fp32")
    assert said == show(release_id, "--store", store.url)
    for line in (
        "licence: LicenseRef-Ours",
        "size: 1,120,137 parameters, 1,499,348,992 MACs",
        "reason: the fastest within 1.1 times the error",
        "data: portraits.zip, not rendered by this project: 30 images teach, 4 choose, 6 only report",
        f"data SHA-256: {'1' * 64}",
        f"base: {'b' * 12}, given as base.safetensors (SHA-256 {'2' * 64})",
        f"step 1: pruned to 1.5 GMAC and retrained with seed 11, which gave {'c' * 12} (SHA-256 {'3' * 64}); "
        f"plan SHA-256 {'4' * 64}",
        "scores: means over val; images prepared as device-512, for targets as device-480x320",
        "made by: openvino 2026.4.1, python 3.11.7",
        "software bill of materials: sbom.cdx.json",
        "| cpu-fp32 | modnet.xml | input 1×3×480×320 | fp32 | this release |",
        "| val_mse | 0.0125 |",
        "| ncs2-fp16 | the tune error is too high |",
        "| openvino 2021.4.2 | cpu-fp32 | failed | no such operation |",
        "| base | seed | 7 |",
        "| step 1 | pruning.policy.kind | budget |",
        "| step 1 | retrain.augmentation.flip | 0.5 |",
    ):
        assert line in said.splitlines()


def test_json_holds_the_manifest_and_what_its_targets_run(store: FolderStore, publish: Publish, run: Any) -> None:
    first, second = publish(), publish(licence="MIT")
    promote(publisher_of(store), "cpu-fp32", first)
    found = run("release", "show", second)
    assert (found["release"], found["running"]) == (second, {"cpu-fp32": first})
    assert (found["manifest"]["licence"], found["manifest"]["schema_version"]) == ("MIT", 5)
    assert Provenance.model_validate(found["manifest"]["provenance"]) == PROVENANCE


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        (None, "licence: none is stated: ask its owner before you pass it on"),
        ("Apache2", "licence: Apache2, an unknown licence: it is not in https://spdx.org/licenses"),
        ("mit", "licence: MIT"),
    ],
)
def test_a_licence_is_said_in_words(licence: str | None, words: str, publish: Publish, show: Show) -> None:
    assert words in show(publish(licence=licence)).splitlines()


def test_a_release_of_version_0_1_0_is_shown(store: FolderStore, show: Show) -> None:
    sign(store, manifest_path("0320fb8bccac"), VERSION_1.read_bytes())
    said = show("0320fb8bccac")
    assert "licence: none is stated: ask its owner before you pass it on" in said
    assert "software bill of materials: not listed" in said
    assert "| provenance | value |" in said
    assert "| cpu-fp32 | modnet-cpu-fp32.xml | input 1×3×512×512 | fp32 | nothing |" in said


def test_what_is_not_there_is_refused_with_what_is(store: FolderStore, publish: Publish, refuse: Any) -> None:
    code, said = refuse("release", "show", "--target", "cpu-fp32")
    assert (code, f"target cpu-fp32: not in {store.url}, which has releases: none; targets: none" in said) == (3, True)
    ids = sorted(publish(scores={"val_mse": index}) for index in range(22))
    promote(publisher_of(store), "cpu-fp32", ids[0])
    code, said = refuse("release", "show", "0" * 12)
    assert code == 3
    assert f"release {'0' * 12}: not in {store.url}" in said
    assert f"releases: {', '.join(ids[:20])} and 2 more; targets: cpu-fp32\n" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "wanted the id of a release, or --target, and not both"),
        (("0" * 12, "--target", "cpu-fp32"), 2, "wanted the id of a release, or --target, and not both"),
        (("newest",), 3, "release_id: got 'newest', wanted 12 lower-case hexadecimal digits"),
        (("0" * 12, "--store", "ftp://x"), 3, "wanted s3://bucket[/prefix] or file:///folder"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    arguments: tuple[str, ...], code: int, words: str, store: FolderStore, refuse: Any
) -> None:
    got, said = refuse("release", "show", *arguments)
    assert (got, words in said) == (code, True), said
