"""What a node does to export a network: a tiny one at 256 pixels, in a folder as store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import DatasetConfig, ExportConfig
from modnet.export import export
from modnet.export.accuracy_control import AccuracyBound
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.export.torch_to_onnx import export_onnx
from modnet.records import ExportRecord, LegacyCheck
from modnet.targets import VARIANTS, Shape
from modnet.workload import LabelledData
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.remote import exports
from tasks.remote.bases import import_base
from tasks.remote.exports import export_stored
from tasks.remote.node import answered
from tasks.stored import fetch_to, this_store
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import export_key
from tests.unit.modnet.random_network import random_network

CONFIG = ExportConfig(
    targets=("cpu-fp32", "ncs2-fp16"), input_shape="256x256", calibration_images=2, max_relative_error_increase=1.0
)


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
    return import_base(dataset.dataset_id, str(checkpoint)).base_id


def exported(network_id: str, config: ExportConfig) -> ExportRecord:
    key = export_key(this_store(), network_id, config)
    cpus = torch.get_num_threads()  # a node sets its threads for the whole process
    return answered(key, ExportRecord, export_stored, [network_id, config, key], cpus)


def install_a_runtime_that_refuses_everything(legacy: Path) -> None:
    """An interpreter that fails as the old runtimes would, with its last words."""
    for version in VARIANTS["ncs2-fp16"].legacy_runtimes:
        (legacy / f"openvino-{version}").mkdir(parents=True)
    (legacy / "python3.9").write_text("#!/bin/sh\necho 'unsupported layer' >&2\nexit 1\n")
    (legacy / "python3.9").chmod(0o755)


def test_export_stored_measures_val_of_everything_that_ships(network_id: str) -> None:
    export = exported(network_id, CONFIG)
    assert export.targets == ("cpu-fp32", "ncs2-fp16")
    assert set(export.val) == {"torch", "cpu-fp32", "ncs2-fp16"}
    assert export.val["cpu-fp32"]["mse"] == pytest.approx(export.val["torch"]["mse"], abs=1e-5)
    assert export.val["ncs2-fp16"]["mad"] == pytest.approx(export.val["torch"]["mad"], abs=2e-3)
    assert export.legacy == {}
    assert exported(network_id, CONFIG) == export  # from the store


BOTH = CONFIG.model_copy(
    update={"targets": ("cpu-fp32", "cpu-fp32-dynamic", "ncs2-fp16"), "input_shape": "256x192", "turned": True}
)


def test_export_stored_makes_an_ir_for_each_orientation(network_id: str, tmp_path: Path) -> None:
    export = exported(network_id, BOTH)
    assert export.targets == BOTH.targets
    assert (export.inputs, export.protocol) == ({"input": (1, 3, 256, 192)}, "device-256x192 or device-192x256")
    names = [f"modnet{stem}-{one}.xml" for one in BOTH.targets for stem in ("", "-turned")]
    names.remove("modnet-turned-cpu-fp32-dynamic.xml")  # which reads both
    assert sorted(name for name in export.files if name.endswith(".xml")) == sorted(names)
    shapes = {}
    for name in (*export.ir_files("cpu-fp32"), *export.ir_files("ncs2-fp16")):
        path = tmp_path / "released" / name
        fetch_to(this_store(), export.files[name], path)
        if path.suffix == ".bin":
            shapes[path.stem] = OpenvinoGraph(path.with_suffix(".xml")).shape
    assert shapes == {name[:-4]: (192, 256) if "turned" in name else (256, 192) for name in names if "dyn" not in name}
    assert export.tune_error["cpu-fp32"] == pytest.approx(export.tune_error["torch"], abs=1e-5)
    assert set(export.val) == {"torch", *BOTH.targets}


def test_export_stored_refuses_a_target_whose_second_ir_computes_another_matte(
    network_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = export.convert_ir
    other = export_onnx(
        random_network(ModnetSpec.tiny(), 1), tmp_path / "other" / "modnet-turned.onnx", size=(192, 256)
    )

    def spoiled(onnx_path: Path, folder: Path, **how: Any) -> Any:
        is_spoiled = onnx_path.name == other.name and how["targets"] == ["cpu-fp32"]
        return convert(other if is_spoiled else onnx_path, folder, **how)

    monkeypatch.setattr(export, "convert_ir", spoiled)
    record = exported(network_id, BOTH)
    assert record.targets == ("cpu-fp32-dynamic", "ncs2-fp16")
    assert "modnet-turned-cpu-fp32.xml differs from the network" in record.refused["cpu-fp32"]
    assert not record.ir_files("cpu-fp32")


def test_export_stored_asks_old_runtimes_about_both(network_id: str, tmp_path: Path) -> None:
    install_a_runtime_that_refuses_everything(tmp_path / "legacy")
    record = exported(network_id, BOTH.model_copy(update={"verify_on_legacy": True}))
    named = [one.by for one in record.legacy["ncs2-fp16"]]
    assert len(named) == 6
    assert [name.endswith(", turned") for name in named] == [False] * 3 + [True] * 3
    assert record.targets == ("cpu-fp32", "cpu-fp32-dynamic")


@pytest.mark.slow
def test_export_stored_quantises_for_each_orientation(network_id: str) -> None:
    record = exported(network_id, BOTH.model_copy(update={"targets": ("cpu-int8",)}))
    assert record.targets == ("cpu-int8",)
    for decision in (record.int8, record.int8_turned):
        assert decision.is_within_bound
        assert decision.tune_images == 4
    assert record.int8.float_error != record.int8_turned.float_error


def test_export_stored_says_not_verified_when_old_runtimes_are_missing(network_id: str) -> None:
    export = exported(network_id, CONFIG.model_copy(update={"verify_on_legacy": True, "input_format": "uint8-nhwc"}))
    assert {check.status for check in export.legacy["ncs2-fp16"]} == {"not verified"}
    assert export.targets == ("cpu-fp32", "ncs2-fp16")


def test_export_stored_asks_old_runtimes_once_they_are_installed(network_id: str, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"verify_on_legacy": True})
    assert {check.status for check in exported(network_id, config).legacy["ncs2-fp16"]} == {"not verified"}
    install_a_runtime_that_refuses_everything(tmp_path / "legacy")
    export = exported(network_id, config)
    assert {check.status for check in export.legacy["ncs2-fp16"]} == {"failed"}
    assert exported(network_id, config) == export  # from the store


def test_export_stored_leaves_out_what_an_old_runtime_refuses_and_keeps_its_words(
    network_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = LegacyCheck(by="OpenVINO 2021.4.2", status="failed", words="unsupported layer")
    monkeypatch.setattr(exports, "verify_on_legacy", lambda *_: (refusal,))
    export = exported(network_id, CONFIG.model_copy(update={"verify_on_legacy": True}))
    assert export.targets == ("cpu-fp32",)
    assert export.refused == {"ncs2-fp16": "OpenVINO 2021.4.2: unsupported layer"}
    assert export.legacy == {"ncs2-fp16": (refusal,)}
    assert not [name for name in export.files if "ncs2" in name]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"targets": ("cpu-fp32", "cpu-fp16"), "max_output_difference": 1e-12}, "modnet.onnx differs from the network"),
        ({"targets": ("ncs2-fp16",)}, "Interpolate of opset4"),
        pytest.param({"targets": ("cpu-int8",), "max_float_layers": 0}, "allowed 0.000000", marks=pytest.mark.slow),
        ({"targets": ("ncs2-fp16",), "verify_on_legacy": True}, "unsupported layer"),
    ],
    ids=["another matte", "operations", "accuracy", "old runtimes"],
)
def test_export_stored_exports_a_network_once_of_which_nothing_can_be_released(
    network_id: str, changes: dict, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update=changes)
    if config.verify_on_legacy:
        install_a_runtime_that_refuses_everything(tmp_path / "legacy")
    elif "ncs2-fp16" in config.targets:
        monkeypatch.setitem(VARIANTS, "ncs2-fp16", replace(VARIANTS["ncs2-fp16"], opset_ceiling=3))

    real = AccuracyBound.on_tune

    def perfect(data: LabelledData, shape: Shape, _: float, config: ExportConfig) -> AccuracyBound:
        return real(data, shape, 0.0, config)  # no rounding keeps that

    monkeypatch.setattr(AccuracyBound, "on_tune", perfect)
    export = exported(network_id, config)
    assert export.targets == ()
    assert set(export.refused) == set(config.targets)
    assert export.refusal.startswith(", ".join(config.targets))
    assert reason in export.refusal
    assert (export.int8 is not None) == ("cpu-int8" in config.targets)
    monkeypatch.delattr(exports, "export_network")
    assert exported(network_id, config) == export
