"""Golden images from the export of a network, through its release, to the device that measures it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from prefect.logging import disable_run_logger

from infra.device.documents.latency_report import GoldenCheck
from infra.device.measuring.golden import check_golden
from infra.device.measuring.runtime import load_ir
from infra.device.releases import fetch_release, manifest_of, read_current, read_manifest
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import DatasetConfig, ExportConfig
from modnet.records import ExportRecord, NetworkScores
from modnet.targets import InputFormat
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks import deploy
from tasks.remote import exports, scores
from tasks.remote.bases import import_base
from tasks.remote.node import answered
from tasks.stored import put_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import export_key, scores_key
from tests.signing import publisher_of, trust_of
from tests.unit.modnet.random_network import random_network

CONFIG = ExportConfig(
    targets=("cpu-fp32", "cpu-fp16", "cpu-fp32-dynamic"),
    input_shape="256x192",
    turned=False,
    calibration_images=2,
    max_output_difference=0.02,
    max_relative_error_increase=1.0,
)


@pytest.fixture
def store(own_store: FolderStore) -> FolderStore:
    return own_store


@pytest.fixture
def release(store: FolderStore, tmp_path: Path) -> Callable[..., str]:
    """A function from the seed of random weights to a release of them that every target runs."""
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=5, val=1, size=(96, 64), seed=0)
    dataset = publish_dataset(DatasetConfig(source=str(archive)), Settings.from_env(), store)
    cpus = torch.get_num_threads()  # a node sets its threads for the whole process

    def make(seed: int = 0, input_format: InputFormat = "float-nchw", is_earlier: bool = False) -> str:
        config = CONFIG.model_copy(update={"input_format": input_format})
        checkpoint = save_checkpoint(random_network(ModnetSpec.tiny(), seed), tmp_path / f"{seed}.safetensors", {})
        base_id = import_base(dataset.dataset_id, str(checkpoint)).base_id
        scored_at = scores_key(store, base_id, config.shapes)
        answered(scored_at, NetworkScores, scores.score_network, [base_id, config.shapes], cpus)
        key = export_key(store, base_id, config)
        export = answered(key, ExportRecord, exports.export_stored, [base_id, config, key], cpus)
        assert export.targets == CONFIG.targets, export.refused
        if is_earlier:  # as versions wrote it that knew no golden images
            store.delete(key)
            put_record(store, key, ExportRecord.model_validate(export.model_dump(exclude={"golden"})))
        with disable_run_logger():
            release_id: str = deploy.publish.fn(base_id, config, "it is the only one")
        for target in CONFIG.targets:
            promote(publisher_of(store), target, release_id)
        return release_id

    return make


def _checked(
    store: FolderStore, folder: Path, target: str, *, precision: str = "f32", ir_xml: Path | None = None
) -> tuple[str | None, GoldenCheck]:
    """In which precision the target's current release ran here, or another IR in its place, and what it computed."""
    pointer = read_current(trust_of(store), target)
    released = fetch_release(store, pointer, folder)
    golden = manifest_of(store, pointer).targets[target].golden
    assert golden is not None
    model = load_ir(ir_xml or released, precision=precision)
    return model.precision, check_golden(model, released.parent / golden.path, golden)


@pytest.mark.parametrize("input_format", ["float-nchw", "uint8-nhwc"])
def test_a_device_finds_what_was_released_right(
    store: FolderStore, release: Callable[..., str], tmp_path: Path, input_format: InputFormat
) -> None:
    manifest = read_manifest(trust_of(store), release(input_format=input_format))
    names = {target: files.golden.path for target, files in manifest.targets.items() if files.golden is not None}
    assert names == {"cpu-fp32": "golden.npz", "cpu-fp16": "golden.npz", "cpu-fp32-dynamic": "golden-open.npz"}
    for target in CONFIG.targets:
        precision, check = _checked(store, tmp_path / "device", target)
        assert (precision, check.images_count) == ("f32", 3)
        assert check.worst_difference <= 0.51 * check.tolerance  # a half is allowed of its own


def test_a_device_finds_bfloat16_and_another_network_wrong(
    store: FolderStore, release: Callable[..., str], tmp_path: Path
) -> None:
    release(seed=1)
    other = fetch_release(store, read_current(trust_of(store), "cpu-fp32"), tmp_path / "other")
    release(seed=0)
    _, of_other = _checked(store, tmp_path / "device", "cpu-fp32", ir_xml=other)
    assert of_other.worst_difference > 10 * of_other.tolerance
    for target in CONFIG.targets:
        precision, check = _checked(store, tmp_path / "device", target, precision="bf16")
        if precision != "bf16":
            pytest.skip(f"this CPU does not compute in bf16: asked for it, it takes {precision}")
        assert check.worst_difference > 2 * check.tolerance


def test_the_same_export_gives_the_same_golden_images(
    store: FolderStore, release: Callable[..., str], tmp_path: Path
) -> None:
    first = read_manifest(trust_of(store), release())
    for path in (tmp_path / "store").glob("exports/*/*"):
        path.unlink()
    again = read_manifest(trust_of(store), release())
    names = ("golden.npz", "golden-open.npz")
    assert [first.files[name] for name in names] == [again.files[name] for name in names]


def test_an_earlier_export_is_released_without_golden_images(store: FolderStore, release: Callable[..., str]) -> None:
    manifest = read_manifest(trust_of(store), release(is_earlier=True))
    assert {files.golden for files in manifest.targets.values()} == {None}
