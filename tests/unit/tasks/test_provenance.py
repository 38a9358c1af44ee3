"""A release names every network between the unpruned one and itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.device.errors import NotStoredError
from infra.device.stores.folder_store import FolderStore
from modnet.configs import ExportConfig, PruningConfig
from modnet.records import (
    BaseRecord,
    Candidate,
    Complexity,
    DatasetRecord,
    ExportRecord,
    NetworkScores,
    RetrainReport,
    Scores,
    StoredFile,
    TrainingReport,
)
from modnet.shipped import SHIPPED_ORIGIN
from tasks.provenance import provenance_of
from tasks.stored import put_file, put_record
from tasks.stored_network import base_key, candidate_key, retrained_key

COST = Complexity(parameters=10, macs=20, size=512)
TRAINING = TrainingReport(steps=1, images_seen=1, history=(), best_epoch=None, precision="fp32", seconds=1)
SCORES = Scores(errors={"mse": 0.1}, split="val", protocol="device-512", images=1, per_image=())
EXPORT = ExportRecord(
    network_id="small",
    files={},
    input_format="float-nchw",
    inputs={},
    protocol="device-480x320",
    targets=(),
    refused={"cpu-int8": "it errs too much"},
    parity={},
    tune_error={},
    val={},
    legacy={},
    versions={"python": "3.11.7"},
    seconds=1,
)
NETWORK_SCORES = NetworkScores(
    network_id="small", input_shape="512x512", tune=SCORES, val=SCORES, complexity=COST, size_bytes=1, seconds=1
)


def put_base(store: FolderStore, name: str, origin: str = SHIPPED_ORIGIN) -> StoredFile:
    file = put_file(store, f"bases/{name}/base.safetensors", name.encode())
    base = BaseRecord(
        base_id=name,
        dataset_id="data",
        checkpoint=file,
        complexity=COST,
        origin=origin,
        made={"seed": 3},
        training=None,
    )
    put_record(store, base_key(name), base)
    return file


def put_candidate(store: FolderStore, name: str, parent: str, seed: int) -> StoredFile:
    store.put(f"candidates/{name}/plan.json", f'{{"sha256": "plan of {name}", "plan": {{}}}}'.encode())
    file = put_file(store, f"candidates/{name}/x.safetensors", name.encode())
    candidate = Candidate(
        candidate_id=name,
        base_id="base",
        parent_id=parent,
        dataset_id="data",
        pruning=PruningConfig.from_word("3G"),
        retrain={"epochs": seed},
        seed=seed,
        pruned=file,
        complexity=COST,
    )
    put_record(store, candidate_key(name), candidate)
    put_record(store, retrained_key(name), RetrainReport(candidate_id=name, checkpoint=file, training=TRAINING))
    return file


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A network that was pruned twice, from a start that is not the base."""
    store = FolderStore(tmp_path / "store")
    put_dataset(store)
    put_base(store, "base")
    put_base(store, "start")
    put_candidate(store, "middle", "start", 1)
    put_candidate(store, "small", "middle", 2)
    return store


def put_dataset(store: FolderStore, source: str = "synthetic") -> None:
    archive = put_file(store, "datasets/data/archive.zip", source.encode())
    record = DatasetRecord(
        dataset_id="data",
        archive=archive,
        source=source,
        is_synthetic=source == "synthetic",
        fit=5,
        tune=4,
        val=3,
    )
    put_record(store, "datasets/data/dataset.json", record)


def test_every_step_is_named_in_order_with_plan_recipe_and_seed(store: FolderStore) -> None:
    found = provenance_of(store, EXPORT, ExportConfig(), NETWORK_SCORES, "the fastest")
    assert (found.base.network_id, found.base.made) == ("base", {"seed": 3})
    assert found.start is not None
    assert found.start.network_id == "start"
    assert [(one.network_id, one.plan_sha256, one.retrain, one.seed) for one in found.steps] == [
        ("middle", "plan of middle", {"epochs": 1}, 1),
        ("small", "plan of small", {"epochs": 2}, 2),
    ]
    assert found.steps[1].sha256 == put_candidate(store, "small", "middle", 2).sha256
    assert (found.dataset.fit, found.dataset.tune, found.dataset.val) == (5, 4, 3)
    assert (found.refused, found.versions) == (EXPORT.refused, EXPORT.versions)


def test_a_released_base_has_no_steps(store: FolderStore) -> None:
    export = EXPORT.model_copy(update={"network_id": "base"})
    found = provenance_of(store, export, ExportConfig(), NETWORK_SCORES, "the fastest")
    assert (found.base.network_id, found.start, found.steps) == ("base", None, ())


def test_an_answer_that_is_gone_is_named(store: FolderStore) -> None:
    store.delete("candidates/middle/plan.json")
    with pytest.raises(NotStoredError, match=r"candidates/middle/plan\.json"):
        provenance_of(store, EXPORT, ExportConfig(), NETWORK_SCORES, "the fastest")


@pytest.mark.parametrize(
    ("source", "base", "start", "licence"),
    [
        ("synthetic", SHIPPED_ORIGIN, SHIPPED_ORIGIN, "Apache-2.0"),
        ("https://user:secret@host/portraits.zip?key=secret", SHIPPED_ORIGIN, SHIPPED_ORIGIN, None),
        ("synthetic", "given as base.ckpt", SHIPPED_ORIGIN, None),
        ("synthetic", SHIPPED_ORIGIN, "given as start.ckpt", None),
    ],
    ids=["the project's own", "photographs", "a given base", "a given start"],
)
def test_a_licence_is_ours_only_where_all_is_ours(
    source: str, base: str, start: str, licence: str | None, store: FolderStore
) -> None:
    put_dataset(store, source)
    put_base(store, "base", base)
    put_base(store, "start", start)
    found = provenance_of(store, EXPORT, ExportConfig(), NETWORK_SCORES, "the fastest")
    assert found.usual_licence == licence
    assert "secret" not in found.model_dump_json()
