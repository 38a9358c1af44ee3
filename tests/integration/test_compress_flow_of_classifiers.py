"""The flow compress on a classifier: from class folders to a release whose graphs name their classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from prefect.testing.utilities import prefect_test_harness

from flows.compress import compress
from infra import ray_pool
from infra.device.measuring.golden import check_golden
from infra.device.measuring.runtime import load_ir
from infra.device.releases import fetch_release, read_current, read_manifest
from infra.device.stores.folder_store import FolderStore
from modnet.checkpoint import save_checkpoint
from modnet.configs import (
    BenchmarkConfig,
    ComputeConfig,
    DatasetConfig,
    ExportConfig,
    PruningConfig,
    SyntheticConfig,
    UniformPolicy,
    WinnerLimits,
)
from modnet.data.images import write_png
from modnet.export.graph_file import described, read_ir
from modnet.records import ExportRecord
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.classification.settings import ClassDistillation, ClassRetraining
from modnet.workloads.classification.synthetic import CLASSES, draw_shape
from tasks.cli import main
from tasks.configs.baseline import BaselineConfig
from tasks.configs.compress import CompressConfig
from tests.signing import trust_of

TARGETS = ("cpu-fp32", "cpu-int8", "ncs2-fp16", "cpu-fp32-dynamic")


@pytest.fixture
def store(own_store: FolderStore) -> Iterator[FolderStore]:
    """An empty store that the workers of Ray find by their environment, so they start after it is set."""
    ray_pool.shutdown()
    with prefect_test_harness(server_startup_timeout=120):
        yield own_store
    ray_pool.shutdown()


@pytest.mark.slow
def test_compress_releases_a_pruned_classifier(
    store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.manual_seed(0)
    base = save_checkpoint(MobileNetV2(MobileNetV2Spec.tiny(CLASSES)), tmp_path / "tiny.safetensors", {})
    config = CompressConfig(
        profile="demo",
        dataset=DatasetConfig(
            workload="classification", synthetic=SyntheticConfig(train=48, val=12, height=64, width=64)
        ),
        base=BaselineConfig(checkpoint=str(base)),
        pruning=(
            PruningConfig(
                policy=UniformPolicy(ratio=0.25),
                criterion="taylor",
                taylor_images=4,
                channel_multiple=2,
                min_channels=2,
            ),
        ),
        retrain=ClassRetraining(epochs=1, batch_size=16, precision="fp32", distillation=ClassDistillation()),
        winner_limits=WinnerLimits(max_error_ratio=2),
        # few images tell a top-1 error coarsely: one of six is more than 5 % of it
        export=ExportConfig(targets=TARGETS, calibration_images=6, max_relative_error_increase=1),
        benchmark=BenchmarkConfig(wait_s=0),
        compute=ComputeConfig(base_cpus=1),
    )
    again = CompressConfig.model_validate_json(config.model_dump_json())  # as a deployment hands it over
    assert again == config
    compress(again)

    current = read_current(trust_of(store), "cpu-fp32")
    manifest = read_manifest(trust_of(store), current.release_id)
    assert manifest.workload == "classification"
    assert {"val_top1", "val_top5", "val_top1_cpu-int8"} <= manifest.scores.keys()
    assert manifest.targets.keys() == set(TARGETS)
    assert all(files.golden is not None for files in manifest.targets.values())
    assert manifest.targets["cpu-int8"].input_shape == (1, 3, 64, 64)
    for target in ("cpu-fp32", "cpu-int8"):  # as a device does before it measures
        released = fetch_release(store, read_current(trust_of(store), target), tmp_path / "device")
        golden = manifest.targets[target].golden
        check = check_golden(load_ir(released, precision="f32"), released.parent / golden.path, golden)
        assert check.images_count == 4
        assert check.worst_difference <= check.tolerance
    (key,) = [name for name in store.list("exports/") if name.endswith("export.json")]
    exported = ExportRecord.model_validate_json(store.get(key))
    assert (exported.protocol, exported.refused) == ("centre-64x64", {})
    for target in TARGETS:
        for suffix in ("xml", "bin"):
            name = f"modnet-{target}.{suffix}"
            (tmp_path / name).write_bytes(store.get(exported.files[name].key))
        assert described(read_ir(tmp_path / f"modnet-{target}.xml")).output_names == CLASSES

    (page,) = (name for name in store.list("runs/") if name.endswith("report.html"))
    report = store.get(page).decode()
    assert "top-1 error" in report
    assert [name for name in store.list("mattes/") + store.list("sheets/") if name.endswith(".png")]

    write_png(tmp_path / "photo.png", draw_shape("disc", (80, 64), np.random.default_rng(0)))
    told = ["infer", "--json", "--ir", str(tmp_path / "modnet-cpu-int8.xml"), "--input", str(tmp_path / "photo.png")]
    assert main(told) == 0
    assert {row["class"] for row in json.loads(capsys.readouterr().out)["answers"]} < set(CLASSES)
