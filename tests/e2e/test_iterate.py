"""The flow iterate on a real Prefect engine and a real Ray: to the budget, and again without work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prefect.testing.utilities import prefect_test_harness

from flows.iterate import iterate
from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import (
    BudgetPolicy,
    ComputeConfig,
    DatasetConfig,
    PruningConfig,
    SyntheticConfig,
)
from modnet.records import Candidate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import MattingRetraining
from tasks.configs.sections import StepwiseConfig
from tasks.remote import bases
from tasks.stored import get_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import candidate_key

pytestmark = pytest.mark.slow

MAX_MACS = 300_000_000  # of 761 million
CONFIG = StepwiseConfig(
    steps=2,
    pruning=PruningConfig(
        policy=BudgetPolicy(max_macs=MAX_MACS), criterion="taylor", taylor_images=2, channel_multiple=1, min_channels=2
    ),
    retrain=MattingRetraining(epochs=1, batch_size=2, image_size=64),
)


def test_iterate_reaches_the_budget_and_does_no_work_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    store = FolderStore(tmp_path / "store")
    portraits = DatasetConfig(synthetic=SyntheticConfig(train=6, val=1, height=96, width=80))
    dataset = publish_dataset(portraits, Settings.from_env(), store)
    torch.manual_seed(0)
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    base = bases.import_base(dataset.dataset_id, str(checkpoint))

    with prefect_test_harness(server_startup_timeout=120):
        ids = iterate(base.base_id, CONFIG, compute=ComputeConfig(base_cpus=1))
        last = get_record(store, candidate_key(ids[-1]), Candidate)
        assert (len(ids), last.parent_id, last.base_id) == (2, ids[0], base.base_id)
        assert last.complexity.macs <= MAX_MACS
        keys = {key: store.get_with_etag(key)[1] for key in store.list("")}
        assert iterate(base.base_id, CONFIG, compute=ComputeConfig(base_cpus=1)) == ids
        assert {key: store.get_with_etag(key)[1] for key in store.list("")} == keys
