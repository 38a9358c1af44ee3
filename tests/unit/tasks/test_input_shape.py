"""A network is used at its own shape, then at the run's, then at that of its data set's images."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import DatasetConfig, ExportConfig, PruningConfig, RetrainConfig, SyntheticConfig
from modnet.records import Candidate, DatasetRecord, RetrainReport, TrainingReport
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.remote import bases, candidates
from tasks.remote.node import answered
from tasks.stored import get_record, put_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import candidate_key, pruned_id, retrained_key, shaped

UNTRAINED = TrainingReport(steps=0, images_seen=0, history=(), best_epoch=None, precision="fp32", seconds=0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    return FolderStore(tmp_path / "store")


def published(store: FolderStore, height: int, width: int) -> DatasetRecord:
    drawn = SyntheticConfig(train=5, val=1, height=height, width=width)
    return publish_dataset(DatasetConfig(synthetic=drawn), Settings.from_env(), store)


@pytest.mark.parametrize(
    ("height", "width", "shape"), [(96, 64, "512x352"), (64, 96, "352x512"), (64, 64, "512x512"), (256, 64, "512x128")]
)
def test_a_data_set_says_what_shape_its_images_fill(height: int, width: int, shape: str, store: FolderStore) -> None:
    assert published(store, height, width).input_shape == shape


@pytest.mark.parametrize(
    ("own", "of_run", "shape"),
    [(None, None, "512x352"), (None, "64x96", "64x96"), ("128x96", "64x96", "128x96")],
    ids=["of the data", "of the run", "its own"],
)
def test_the_shape_nearest_to_a_network_counts(
    own: str | None, of_run: str | None, shape: str, store: FolderStore, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    base_id = bases.import_base(published(store, 96, 64).dataset_id, str(checkpoint)).base_id
    pruning = PruningConfig(channel_multiple=2, min_channels=2, input_shape=own)
    question = (base_id, pruning, RetrainConfig(), 0)
    name = pruned_id(store, *question)
    answered(candidate_key(name), Candidate, candidates.prune_network, (*question, name), cpus=1)
    pruned = get_record(store, candidate_key(name), Candidate).pruned
    put_record(store, retrained_key(name), RetrainReport(candidate_id=name, checkpoint=pruned, training=UNTRAINED))
    export = ExportConfig(input_shape=of_run)
    assert shaped(store, name, export).input_shape == shape
    assert shaped(store, base_id, export).input_shape == (of_run or "512x352")
