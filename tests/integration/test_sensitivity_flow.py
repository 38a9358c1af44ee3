"""The flow sensitivity on a real Prefect server, a real local Ray and a folder as store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from prefect.testing.utilities import prefect_test_harness

from flows.sensitivity import sensitivity
from infra import ray_pool
from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import ComputeConfig, DatasetConfig, PruningConfig, SensitivityConfig
from modnet.records import Sensitivities
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.remote.bases import import_base
from tasks.stored import get_record
from tasks.stored_dataset import publish_dataset

CONFIG = SensitivityConfig(
    ratios=(0.3, 0.6),
    images=2,
    short_side=32,
    pruning=PruningConfig(
        criterion="taylor", taylor_images=1, exclude=("backbone.*", "detail.*"), channel_multiple=2, min_channels=2
    ),
)
COMPUTE = ComputeConfig(base_cpus=1, candidate_cpus=1, timeout_s=300)


@pytest.fixture
def base_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tiny base in a store that the workers of Ray find by their environment, so it starts after this is set."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=7, val=1, size=(96, 64), seed=0)
    settings, store = Settings.from_env(), FolderStore(tmp_path / "store")
    dataset = publish_dataset(DatasetConfig(source=str(archive)), settings, store)
    torch.manual_seed(0)
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    ray_pool.shutdown()
    with prefect_test_harness(server_startup_timeout=120):
        yield import_base(dataset.dataset_id, str(checkpoint)).base_id
    ray_pool.shutdown()


def test_sensitivity_measures_on_ray_and_finds_everything_in_the_store_when_run_again(
    base_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = sensitivity(base_id, CONFIG, COMPUTE)

    store = FolderStore(tmp_path / "store")
    groups = [curve.group for curve in report.curves]
    assert "fusion.f2x" in groups
    keys = [key for key in store.list("sensitivities/") if "/groups/" in key]
    assert sorted(Path(key).stem for key in keys) == sorted(groups)
    assert len(get_record(store, keys[0], Sensitivities).measurements) == CONFIG.images
    assert store.get(report.plot.key).startswith(b"\x89PNG")
    assert [entry.pattern for entry in report.choice.policy.ratios] == groups

    store.delete(keys[0])  # as if the run had been killed before this group was done
    changed = CONFIG.model_copy(update={"allowed_loss": 0.5})
    asked: list[str] = []
    run_on_ray = ray_pool.run_on_ray
    monkeypatch.setattr("tasks.on_ray.run_on_ray", lambda *a, **k: asked.append(k["name"]) or run_on_ray(*a, **k))
    assert sensitivity(base_id, changed, COMPUTE).choice.allowed_loss == 0.5
    assert asked == [f"sensitivity of {Path(keys[0]).stem}"]
