"""What a node does to export a network: a tiny one at 256 pixels, in a folder as store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from infra.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import DatasetConfig, ExportConfig
from modnet.data.synthetic import write_synthetic_archive
from modnet.models.modnet import MODNet
from modnet.records import ExportRecord, LegacyCheck
from modnet.spec import ModnetSpec
from tasks import remote_export
from tasks.remote import import_base
from tasks.remote_export import export_stored
from tasks.stored_dataset import publish_dataset

CONFIG = ExportConfig(targets=("cpu-fp32", "ncs2-fp16"), size=256, calibration_images=2, max_relative_mse_increase=1.0)


@pytest.fixture
def network_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A base in a store that knows no old runtimes."""
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODNET_LEGACY", str(tmp_path / "legacy"))
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=5, val=1, size=(96, 64), seed=0)
    dataset = publish_dataset(DatasetConfig(source=str(archive)), Settings.from_env(), FolderStore(tmp_path / "store"))
    torch.manual_seed(0)
    checkpoint = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    return import_base(dataset.dataset_id, checkpoint).base_id


def exported(network_id: str, config: ExportConfig) -> ExportRecord:
    return export_stored(network_id, config, torch.get_num_threads())  # a node sets its threads for the whole process


def test_export_stored_measures_val_of_everything_that_ships(network_id: str) -> None:
    export = exported(network_id, CONFIG)
    assert export.targets == ("cpu-fp32", "ncs2-fp16")
    assert set(export.val) == {"torch", "cpu-fp32", "ncs2-fp16"}
    assert export.val["cpu-fp32"].mse == pytest.approx(export.val["torch"].mse, abs=1e-5)
    assert export.val["ncs2-fp16"].mad == pytest.approx(export.val["torch"].mad, abs=2e-3)
    assert export.legacy == {}
    assert exported(network_id, CONFIG) == export  # from the store


def test_export_stored_says_not_verified_when_old_runtimes_are_missing(network_id: str) -> None:
    export = exported(network_id, CONFIG.model_copy(update={"verify_on_legacy": True, "input_format": "uint8-nhwc"}))
    assert {check.status for check in export.legacy["ncs2-fp16"]} == {"not verified"}
    assert export.targets == ("cpu-fp32", "ncs2-fp16")


def test_export_stored_leaves_out_what_an_old_runtime_refuses_and_keeps_its_words(
    network_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = LegacyCheck(by="OpenVINO 2021.4.2", status="failed", words="unsupported layer")
    monkeypatch.setattr(remote_export, "verify_on_legacy", lambda *_: (refusal,))
    export = exported(network_id, CONFIG.model_copy(update={"verify_on_legacy": True}))
    assert export.targets == ("cpu-fp32",)
    assert export.refused == {"ncs2-fp16": "OpenVINO 2021.4.2: unsupported layer"}
    assert export.legacy == {"ncs2-fp16": (refusal,)}
    assert not [name for name in export.files if "ncs2" in name]
