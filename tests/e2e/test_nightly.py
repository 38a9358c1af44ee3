"""The whole loop with every real service, small: once, again without work, and with inputs that cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tiny import tiny_run
from infra.device.releases import read_current, read_manifest
from infra.device.reports import read_reports
from infra.device.stores.object_store import ObjectStore, open_store
from infra.device.trust import Trust
from infra.local_stack.nightly import run_nightly
from infra.local_stack.stack import Stack
from modnet.configs import BenchmarkConfig, ComputeConfig, DatasetConfig
from tasks.configs.baseline import BaselineConfig

PROJECT = Path(__file__).resolve().parents[2]
DEPLOYMENT = "compress/on-demand"
TARGETS = ("cpu-fp32", "cpu-int8")  # what the agent measures
STICK = "ncs2-fp16"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"), PROJECT, os.environ, TARGETS)
    stack.up()  # so that a run finds it up and leaves it up
    yield stack
    stack.down()
    assert not any(stack.status().values())


@pytest.fixture
def store(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in stack.pipeline_environ().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return open_store("s3://modnet")


def parameters(folder: Path, **changes: object) -> dict:
    config = tiny_run(folder, *TARGETS, STICK, benchmark=BenchmarkConfig(wait_s=120, min_reports=2))
    export = config.export.model_copy(update={"verify_on_legacy": True})
    return {"config": config.model_copy(update={"export": export, **changes}).model_dump(mode="json")}


def test_nightly_goes_from_data_set_to_leaderboard_and_does_no_work_twice(
    stack: Stack, store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run_nightly(stack, DEPLOYMENT, parameters(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "unpruned" in printed
    assert "winner" in printed

    trust = Trust(store, (stack.keys / "root.json").read_bytes(), tmp_path)
    release = read_current(trust, "cpu-int8").release_id
    manifest = read_manifest(trust, release)
    assert set(manifest.targets) == {*TARGETS, STICK}
    assert {f"val_mse_{target}" for target in manifest.targets} < set(manifest.scores)
    checks = manifest.provenance["legacy"][STICK]
    assert len(checks) == 3
    assert {check["status"] for check in checks} <= {"ok", "not verified"}  # the latter where none is installed
    assert all(store.exists(f"releases/{release}/{path}") for path in manifest.files)
    reports, refused = read_reports(store, release)
    assert {report.target for report in reports if report.summary} == set(TARGETS)
    assert not refused

    page = next(key for key in store.list("runs/") if key.endswith("report.html"))
    with urllib.request.urlopen(store.link(page), timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        page_text = answer.read()
    assert b"SYNTHETIC images" in page_text
    assert b"Targets of the winner" in page_text

    keys = [key for key in store.list("") if not key.startswith(("stack/", "nights/"))]
    etags = {key: store.get_with_etag(key)[1] for key in keys}
    assert run_nightly(stack, DEPLOYMENT, parameters(tmp_path)) == 0
    again = [key for key in store.list("") if not key.startswith(("stack/", "nights/"))]
    assert again == keys
    computed = [key for key in keys if not key.startswith(("runs/", "targets/", "awaited/", "fleet/", "history/"))]
    assert {key: store.get_with_etag(key)[1] for key in computed} == {key: etags[key] for key in computed}
    assert not [key for key in keys if "training-state" in key]


def test_nightly_keeps_the_survivors_when_one_candidate_cannot_be_retrained(
    stack: Stack, store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A candidate's pruned file is spoilt behind the run's back: it fails alone, and stands in the summary."""
    changed = parameters(tmp_path, seed=1)
    assert run_nightly(stack, DEPLOYMENT, changed) == 0
    candidates = {
        key: json.loads(store.get(key)) for key in store.list("candidates/") if key.endswith("candidate.json")
    }
    spoilt = next(one for one in candidates.values() if one["seed"] == 1)
    store.put(spoilt["pruned"]["key"], b"spoilt")
    store.delete(f"candidates/{spoilt['candidate_id']}/retrained.json")
    for cached in (stack.folder / "cache" / "objects" / spoilt["pruned"]["sha256"][:16]).iterdir():
        cached.unlink()
    capsys.readouterr()

    assert run_nightly(stack, DEPLOYMENT, changed) == 0
    printed = capsys.readouterr().out
    assert "failed: " in printed
    assert "DigestMismatchError" in printed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": DatasetConfig(source="/nowhere/portraits.zip")}, "no such file"),
        ({"base": BaselineConfig(checkpoint="/nowhere/base.ckpt")}, "cannot read checkpoint /nowhere/base.ckpt"),
        ({"min_survivors": 3}, "2 of 2 candidates were retrained, wanted at least 3"),
    ],
    ids=["no data set", "no base", "too few survivors"],
)
def test_nightly_fails_with_the_reason_last_and_no_release(
    stack: Stack, store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture, changes: dict, reason: str
) -> None:
    before = store.list("releases/") + store.list("targets/")
    assert run_nightly(stack, DEPLOYMENT, parameters(tmp_path, seed=2, **changes)) != 0
    assert reason in capsys.readouterr().out.strip().splitlines()[-1]
    assert store.list("releases/") + store.list("targets/") == before


RUN_HERE = """
import sys
from flows.compress import compress
from tasks.configs.compress import CompressConfig
compress(CompressConfig.model_validate_json(sys.stdin.read()))
"""


def failed_here(stack: Stack, config: dict, **environ: str) -> str:
    """What a flow says that must fail, in a process of its own with other settings than the worker's."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_HERE],
        input=json.dumps(config["config"]),
        env={**os.environ, **stack.pipeline_environ(), **environ},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "Finished in state Failed" in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "check which identity AWS_ACCESS_KEY_ID names"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "StoreGoneError"),
        ({"MODNET_STORE": "s3://nowhere"}, "the bucket does not exist"),
    ],
    ids=["wrong key", "store unreachable", "no bucket"],
)
def test_compress_fails_and_leaves_the_store_as_it_was_when_the_store_refuses(
    stack: Stack, store: ObjectStore, tmp_path: Path, environ: dict, reason: str
) -> None:
    before = store.list("")
    config = parameters(tmp_path, seed=3, compute=ComputeConfig(store_wait_s=1))
    assert reason in failed_here(stack, config, **environ)
    assert store.list("") == before


def test_compress_fails_and_releases_nothing_when_the_disk_has_no_room(
    stack: Stack, store: ObjectStore, tmp_path: Path
) -> None:
    """The cache lies on a file system of 64 KiB."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    before = store.list("releases/") + store.list("targets/")
    try:
        said = failed_here(stack, parameters(tmp_path, seed=4), MODNET_CACHE=str(small))
    finally:
        subprocess.run(["umount", small], check=True)
    assert "DiskFullError: got 0.00 GB of free disk, wanted " in said
    assert store.list("releases/") + store.list("targets/") == before
