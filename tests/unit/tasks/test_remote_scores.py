"""What a node does to score and draw a network: a tiny one, in a folder as store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import DatasetConfig
from modnet.records import NetworkScores, Sheet
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.metrics import ERROR_NAMES
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.remote.bases import import_base
from tasks.remote.node import answered
from tasks.remote.scores import draw_sheet, score_network
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import scores_key, sheet_key


def test_score_network_measures_tune_by_two_means_and_val_by_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=5, val=1, size=(96, 64), seed=0)
    store = FolderStore(tmp_path / "store")
    dataset = publish_dataset(DatasetConfig(source=str(archive)), Settings.from_env(), store)
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    cpus = torch.get_num_threads()  # a node sets what it is given, for the whole process
    base = import_base(dataset.dataset_id, str(checkpoint))

    key = scores_key(store, base.base_id, ((288, 256),))
    scores = answered(key, NetworkScores, score_network, [base.base_id, ((288, 256),)], cpus)
    assert (scores.val.images, scores.val.protocol) == (1, "device-288x256")
    assert tuple(scores.val.errors) == ERROR_NAMES
    assert set(scores.tune.errors) == {"mse", "mad", "unknown_mse", "unknown_mad"}
    assert answered(key, NetworkScores, score_network, [base.base_id, ((288, 256),)], cpus) == scores  # from the store

    networks = {base.base_id: ((288, 256),)}
    key = sheet_key(store, networks)
    sheet = answered(key, Sheet, draw_sheet, [networks, ("unpruned",), key], cpus)
    assert store.get(sheet.picture.key).startswith(b"\x89PNG")
