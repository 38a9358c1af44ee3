"""The flow compress on a real Prefect server and a real local Ray, when the best network cannot be released."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.compress import compress
from flows.deploy import deploy
from flows.export import export
from infra import ray_pool
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.releases import read_current, read_manifest
from infra.device.stores.folder_store import FolderStore
from infra.fleet.rows import collected
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint, to_bytes
from modnet.configs import (
    BenchmarkConfig,
    ComputeConfig,
    DatasetConfig,
    ExportConfig,
    PruningConfig,
    UniformPolicy,
)
from modnet.errors import DatasetError, ExportError
from modnet.records import Candidate, EpochReport, RetrainReport, TrainingReport
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import MattingRetraining
from tasks.configs.baseline import BaselineConfig
from tasks.configs.compress import CompressConfig
from tasks.configs.tidy import TidyConfig
from tasks.remote import bases, candidates
from tasks.remote.node import answered
from tasks.stored import fetch, put_file, put_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import candidate_key, pruned_id, retrained_key
from tasks.tidying import LEFT_ALONE, fates, remove, units_of
from tests.signing import publisher_of, trust_of
from tests.unit.modnet.random_network import make_difference_of_equal_channels

PRUNING = PruningConfig(exclude=("fusion.*",), channel_multiple=2, min_channels=2)
TRAINING = TrainingReport(
    steps=1,
    images_seen=1,
    history=(EpochReport(losses={"matte": 1.0}, learning_rate=1e-3),),
    best_epoch=None,
    precision="fp32",
    seconds=1,
)


def make_unstable(network: MODNet) -> None:
    """The matte becomes a small difference of large numbers, of which each runtime rounds others."""
    make_difference_of_equal_channels(network, 2.0**23)


def make_worst(network: MODNet) -> None:
    """Everything is person."""
    network.fusion.head.weight.zero_()
    network.fusion.head.bias.fill_(50.0)


@pytest.fixture
def store(own_store: FolderStore) -> Iterator[FolderStore]:
    """An empty store that the workers of Ray find by their environment, so they start after it is set."""
    ray_pool.shutdown()
    with prefect_test_harness(server_startup_timeout=120):
        yield own_store
    ray_pool.shutdown()


def portraits(folder: Path, *, inverted: bool = False) -> str:
    """An archive of rendered portraits whose one matte of val is a mask; `inverted` turns all mattes round."""
    archive = write_synthetic_archive(folder / "rendered.zip", train=5, val=1, size=(96, 64), seed=0)
    with zipfile.ZipFile(archive) as rendered, zipfile.ZipFile(folder / "portraits.zip", "w") as changed:
        for name in rendered.namelist():
            content = rendered.read(name)
            if "/alpha/" in name:
                matte = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
                matte = np.where(matte > 127, 255, 0).astype(np.uint8) if "/val/" in name else matte
                content = cv2.imencode(".png", 255 - matte if inverted else matte)[1].tobytes()
            changed.writestr(name, content)
    return str(folder / "portraits.zip")


@pytest.fixture
def config(store: FolderStore, tmp_path: Path) -> CompressConfig:
    """A run of two candidates, retrained already: the better one computes another matte wherever it runs."""
    torch.manual_seed(0)
    base = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    config = CompressConfig(
        dataset=DatasetConfig(source=portraits(tmp_path)),
        base=BaselineConfig(checkpoint=str(base)),
        pruning=tuple(
            PRUNING.model_copy(update={"policy": UniformPolicy(ratio=ratio), "input_shape": shape})
            for ratio, shape in ((0.25, None), (0.5, "128x96"))
        ),
        retrain=MattingRetraining(epochs=1),
        export=ExportConfig(
            targets=("cpu-fp32", "cpu-fp16"), input_shape="288x256", calibration_images=2, max_output_difference=1e-4
        ),
        benchmark=BenchmarkConfig(wait_s=0),
        compute=ComputeConfig(base_cpus=1),
    )
    dataset = publish_dataset(config.dataset, Settings.from_env(), store)
    base_id = bases.import_base(dataset.dataset_id, str(base)).base_id
    for pruning, spoil in zip(config.pruning, (make_unstable, make_worst), strict=True):
        question = (base_id, pruning, config.retrain, config.seed)
        name = pruned_id(store, *question)
        args = (*question, name)
        candidate = answered(candidate_key(name), Candidate, candidates.prune_network, args, cpus=1)
        network = load(fetch(store, candidate.pruned, tmp_path / "cache"))
        with torch.no_grad():
            spoil(network)
        file = put_file(store, f"candidates/{name}/retrained.safetensors", to_bytes(network, {}))
        put_record(store, retrained_key(name), RetrainReport(candidate_id=name, checkpoint=file, training=TRAINING))
    return config


@pytest.mark.slow
def test_compress_stops_before_anything_is_made_of_useless_data_and_shows_why(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CompressConfig(profile="demo", dataset=DatasetConfig(source=portraits(tmp_path, inverted=True)))
    says = r"cannot be used, see checks/.*\.html in the store: mattes that look inverted in fit \(1 of 1 images\): got "
    with pytest.raises(DatasetError, match=says):
        compress(config)
    assert {key.split("/")[0] for key in store.list("")} == {"checks", "datasets"}
    with get_client(sync_client=True) as client:
        shown = {one.key: one for one in client.read_artifacts()}
    assert {"data", "data-check", "data-images"} <= set(shown)
    assert "3 errors, 1 warning" in shown["data-check"].description
    with monkeypatch.context() as patched:  # the same data again: nothing is looked at anew
        patched.delattr("tasks.on_ray.run_on_ray")
        with pytest.raises(DatasetError, match=says):
            compress(config)


@pytest.mark.slow
def test_compress_releases_the_next_best_when_the_best_computes_another_matte(
    store: FolderStore, config: CompressConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compress(config)
    manifest = read_manifest(trust_of(store), (release := read_current(trust_of(store), "cpu-fp32").release_id))
    next_best = manifest.network_id
    assert manifest.targets["cpu-fp32"].input_shape == (1, 3, 128, 96)  # its own, not the run's
    (best,) = {key.split("/")[1] for key in store.list("candidates/")} - {next_best}
    assert f"{best} is refused: cpu-fp32, cpu-fp16: no target is left: the output of modnet.onnx differs" in caplog.text
    warning = "mattes of only 0 and 1 in val (1 of 1 images)"
    assert warning in caplog.text
    (page,) = (key for key in store.list("runs/") if key.endswith("report.html"))
    assert b"Warnings of the data</h2>" in store.get(page)
    assert b"6 images, 0 errors, 1 warning." in store.get(page)
    assert store.get(page.replace("report.html", "data.html")).count(b"<figure>") == 1
    assert f"not timed: {best} as cpu-fp32: the output of modnet.onnx differs" in caplog.text

    # A second run, when a device has reported meanwhile: another page, and nothing is computed.
    samples = (1.0, 2.0)
    report = LatencyReport(
        release_id=release,
        target="cpu-fp32",
        device="bench",
        runtime="openvino",
        status="measured",
        started_at="20261128T000000.000000Z",
        conditions={},
        input_shape=(1, 3, 128, 96),
        load_ms=1.0,
        samples_ms=samples,
        summary=summarise(samples),
        intervals_ms=intervals(samples),
    )
    store.put(report.key(), report.to_json())
    with monkeypatch.context() as patched:
        patched.delattr("tasks.on_ray.run_on_ray")
        compress(config)
    assert len([key for key in store.list("runs/") if key.endswith("report.html")]) == 2
    assert [(row.device, row.release_id) for row in collected(store)] == [("bench", release)]
    assert f"{release}, runs now" in store.get("fleet/fleet.html").decode()

    # A year later: what the runs show is kept, what they do not goes, and still nothing is computed.
    known = {key for unit in units_of(store.written("")).values() for key in unit.written}
    others = {key.split("/")[0] for key in set(store.list("")) - known}
    assert others == {"awaited", "decisions", "fleet", "history", "nights", "releases", "targets", "trials", "tuf"}
    assert others < LEFT_ALONE.keys()
    times = store.written("runs/")
    for key in times:  # a page is its unit's record, so it is written last
        assert times[key] <= times[f"{key.rpartition('/')[0]}/report.html"]
    forgotten = "candidates/0123456789ab/candidate.json"
    store.put(forgotten, b"{}")
    for key in store.list(""):
        os.utime(store.folder / key, (0, 0))
    gone = remove(store, fates(publisher_of(store), datetime.now(UTC), TidyConfig()))
    assert [key for fate in gone if not fate.stays for key in fate.keys] == [forgotten]
    kept, nights = set(store.list("")), store.list("nights/")
    with monkeypatch.context() as patched:
        patched.delattr("tasks.on_ray.run_on_ray")
        compress(config)
    assert len(store.list("nights/")) == len(nights) + 1
    assert set(store.list("")) - set(store.list("nights/")) == kept - set(nights)

    released = store.list("releases/")
    with pytest.raises(ExportError, match=f"{best} cannot be released: cpu-fp32, cpu-fp16: no target is left"):
        deploy(best, config.export)
    with pytest.raises(ExportError, match=f"{best} cannot be released: cpu-fp32, cpu-fp16: no target is left"):
        export(best, config.export, config.compute)
    assert store.list("releases/") == released
