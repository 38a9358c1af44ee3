"""The pipeline's stages compress a network of which they know its workload's name alone, up to a release."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prefect.logging import disable_run_logger
from pydantic import ValidationError

from infra.device.documents.manifest import Golden
from infra.device.releases import read_current, read_manifest
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote, publish_release
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import (
    ComputeConfig,
    DatasetConfig,
    ExportConfig,
    PruningConfig,
    RetrainConfig,
    SensitivityConfig,
    SyntheticConfig,
    TrainingConfig,
    UniformPolicy,
)
from modnet.errors import CheckpointError, ConfigError, DatasetError
from modnet.records import (
    BaseRecord,
    Candidate,
    Challenge,
    ChannelScores,
    DatasetRecord,
    ExportRecord,
    NetworkScores,
    Provenance,
    RetrainReport,
    Sensitivities,
    Sheet,
    StoredCheck,
)
from modnet.targets import Shape
from modnet.workload import Split
from modnet.workloads import WORKLOADS, Home
from modnet.workloads.matting.settings import MattingRetraining
from modnet.workloads.matting.weights import SHIPPED_SMALL
from tasks import deploy
from tasks.cli import main
from tasks.remote import bases, candidates, checks, exports, latency, scores, sensitivity
from tasks.remote.node import answered, this_node
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import (
    base_key,
    candidate_key,
    export_key,
    pruned_id,
    retrained_key,
    scores_key,
    sheet_key,
    trained_base_id,
)
from tests.signing import keys, publisher_of, trust_of
from tests.unit.modnet.brightness import (
    BrightnessNetwork,
    BrightnessRetraining,
    BrightnessSpec,
    Drawings,
    DrawnImages,
    Noise,
    golden,
)

DRAWN = SyntheticConfig(train=8, val=5)
TRAINING = TrainingConfig(epochs=4, batch_size=4, image_size=64, learning_rate=3e-2, precision="fp32")
PRUNING = PruningConfig(
    policy=UniformPolicy(ratio=0.5), criterion="taylor", taylor_images=4, channel_multiple=1, min_channels=1
)
SHAPES = ((256, 128), (128, 256))
EXPORT = ExportConfig(targets=("cpu-fp32", "ncs2-fp16"), input_shape="256x128", turned=True, calibration_images=2)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    places = [f"tests.unit.modnet.brightness:{part}" for part in ("BRIGHTNESS", "SETTINGS", "draw")]
    monkeypatch.setitem(WORKLOADS, "brightness", Home(*places))
    return FolderStore(tmp_path / "store")


@pytest.fixture
def dataset(store: FolderStore) -> DatasetRecord:
    return publish_dataset(DatasetConfig(workload="brightness", synthetic=DRAWN), Settings.from_env(), store)


def trained_base(dataset: DatasetRecord, cpus: int) -> str:
    question = (dataset.dataset_id, TRAINING, 0, None)
    base_id = trained_base_id(*question)
    return answered(base_key(base_id), BaseRecord, bases.train_base, (*question, base_id), cpus, gpus=0).base_id


def test_a_second_workload_is_pruned_retrained_scored_exported_and_released(
    store: FolderStore, dataset: DatasetRecord
) -> None:
    cpus = torch.get_num_threads()  # a node sets what it is given, for the whole process
    assert (dataset.workload, dataset.fit, dataset.tune, dataset.val) == ("brightness", 8, 5, 5)
    assert (dataset.input_shape, dataset.turned, dataset.shapes) == ("256x128", True, SHAPES)
    checked_at = checks.check_key(dataset.dataset_id)
    checked = answered(checked_at, StoredCheck, checks.check_stored, [dataset.dataset_id, checked_at], cpus)
    assert checked.check.summary == "18 images, 0 errors, 0 warnings"
    base_id = trained_base(dataset, cpus)

    retraining = RetrainConfig(**TRAINING.model_dump())
    question = (base_id, PRUNING, retraining, 0)
    network_id = pruned_id(store, *question)
    answered(candidate_key(network_id), Candidate, candidates.prune_network, (*question, network_id), cpus)
    answered(retrained_key(network_id), RetrainReport, candidates.retrain_candidate, [network_id], cpus, gpus=0)
    before, after = (
        answered(scores_key(store, one, SHAPES), NetworkScores, scores.score_network, [one, SHAPES], cpus)
        for one in (base_id, network_id)
    )
    assert after.complexity.parameters < before.complexity.parameters
    assert tuple(after.val.errors) == ("squared", "absolute")
    assert after.tune.error < 0.01
    drawn = {base_id: SHAPES, network_id: SHAPES}
    drawn_at = sheet_key(store, drawn)
    sheet = answered(drawn_at, Sheet, scores.draw_sheet, [drawn, ("unpruned", "pruned"), drawn_at], cpus)
    assert store.get(sheet.picture.key).startswith(b"\x89PNG")

    exported_at = export_key(store, network_id, EXPORT)
    export = answered(exported_at, ExportRecord, exports.export_stored, [network_id, EXPORT, exported_at], cpus)
    assert (export.targets, export.protocol) == (("cpu-fp32", "ncs2-fp16"), "as drawn")
    assert export.val["torch"].keys() == {"squared", "absolute"}
    with disable_run_logger():
        release_id = deploy.publish.fn(network_id, EXPORT, "it is the only one")
    manifest = read_manifest(trust_of(store), release_id)
    assert manifest.workload == "brightness"
    said = Provenance.model_validate(manifest.provenance)
    assert said.base.made == {"training": TRAINING.model_dump(mode="json"), "seed": 0}
    assert [step.network_id for step in said.steps] == [manifest.network_id]
    for target in EXPORT.targets:
        files = manifest.targets[target]
        assert (files.input_shape, files.turned.input_shape) == ((1, 3, 256, 128), (1, 3, 128, 256))
        assert files.golden == Golden("golden.npz", export.golden[target].tolerance)
    with np.load(io.BytesIO(store.get(export.files["golden.npz"].key))) as arrays:
        np.testing.assert_array_equal(arrays["inputs"], golden((256, 128)))
    assert {"val_squared", "val_absolute_cpu-fp32"} <= manifest.scores.keys()

    with disable_run_logger():
        moved = deploy.move_pointer.fn("cpu-fp32", release_id, network_id, EXPORT, ComputeConfig(), False)
    assert moved.is_moved
    assert read_current(trust_of(store), "cpu-fp32").release_id == release_id


def test_settings_that_a_workload_adds_reach_its_samples_through_the_store(
    store: FolderStore, dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def training_set(data: Drawings, split: Split, config: TrainingConfig, shape: Shape, seed: int) -> DrawnImages:
        seen.append(config)
        return drawn(data, split, config, shape, seed)

    drawn = Drawings.training_set
    monkeypatch.setattr(Drawings, "training_set", training_set)
    question = (trained_base(dataset, 1), PRUNING)
    noisy = BrightnessRetraining(**TRAINING.model_dump(), noise=Noise(strength=0.3))
    for settings in (noisy, RetrainConfig(**TRAINING.model_dump())):
        name = pruned_id(store, *question, settings, 0)
        answered(candidate_key(name), Candidate, candidates.prune_network, (*question, settings, 0, name), 1)
        answered(retrained_key(name), RetrainReport, candidates.retrain_candidate, [name], 1, gpus=0)
    assert seen == [TRAINING, noisy, BrightnessRetraining(**TRAINING.model_dump())]


def test_settings_of_another_workload_are_refused_with_their_names(store: FolderStore, dataset: DatasetRecord) -> None:
    question = (trained_base(dataset, 1), PRUNING, MattingRetraining(**TRAINING.model_dump()), 0)
    name = pruned_id(store, *question)
    answered(candidate_key(name), Candidate, candidates.prune_network, (*question, name), 1)
    with pytest.raises(ValidationError, match="BrightnessRetraining\naugmentation"):
        candidates.retrain_candidate(this_node(1), name)


def test_groups_of_a_second_workload_are_analysed(store: FolderStore, dataset: DatasetRecord) -> None:
    cpus = torch.get_num_threads()
    base_id = trained_base(dataset, cpus)
    config = SensitivityConfig(images=2, short_side=32, ratios=(0.5,), pruning=PRUNING)
    ranked_at = sensitivity.channel_scores_key(store, base_id, config)
    groups = answered(ranked_at, ChannelScores, sensitivity.score_channels, [base_id, config], cpus).scores
    assert set(groups) == {"features"}
    measured_at = sensitivity.group_key(store, base_id, "features", config)
    args = (base_id, "features", config, ranked_at)
    answered(measured_at, Sensitivities, sensitivity.measure_group, args, cpus)
    report = sensitivity.summarise(base_id, [measured_at], config)
    assert report.question.metric == "squared error of brightness"


def test_a_data_set_of_an_unknown_workload_is_refused_with_those_that_there_are(store: FolderStore) -> None:
    with pytest.raises(ConfigError, match="workload: got 'poetry', there is brightness, classification, matting"):
        publish_dataset(DatasetConfig(workload="poetry"), Settings.from_env(), store)


@pytest.mark.parametrize("shapes", [((100, 64),), ((8192, 64),), ((96, 64), (64, 64)), ((96, 64), (64, 96), (96, 64))])
def test_a_data_set_that_says_shapes_that_no_network_reads_is_refused(
    shapes: tuple[Shape, ...], store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drawings, "input_shapes", lambda _: shapes)
    with pytest.raises(
        DatasetError, match=r"workload 'brightness': got input shapes \[.*, wanted height and width, multiples of 32"
    ):
        publish_dataset(DatasetConfig(workload="brightness", synthetic=DRAWN), Settings.from_env(), store)


def test_a_network_of_another_workload_than_the_data_is_refused_with_both(dataset: DatasetRecord) -> None:
    with pytest.raises(CheckpointError, match="does not say its workload.*and is no network of 'brightness'"):
        bases.import_base(dataset.dataset_id, str(SHIPPED_SMALL))


def test_a_release_of_another_workload_is_replaced_only_when_that_is_asked(
    store: FolderStore, dataset: DatasetRecord
) -> None:
    """What devices of a target run would answer another question than before."""
    base_id = trained_base(dataset, torch.get_num_threads())
    cpus = torch.get_num_threads()
    answered(scores_key(store, base_id, SHAPES), NetworkScores, scores.score_network, [base_id, SHAPES], cpus)
    key = export_key(store, base_id, EXPORT)
    export = answered(key, ExportRecord, exports.export_stored, [base_id, EXPORT, key], cpus)
    with disable_run_logger():
        release_id = deploy.publish.fn(base_id, EXPORT, "first")
    manifest = replace(read_manifest(trust_of(store), release_id), workload="poetry")
    other = publish_release(publisher_of(store), manifest, {name: file.key for name, file in export.files.items()})
    promote(publisher_of(store), "cpu-fp32", other)
    sha256 = read_current(trust_of(store), "cpu-fp32").manifest_sha256
    args = ("cpu-fp32", other, sha256, base_id, key)
    found = answered("challenges/a.json", Challenge, latency.challenge_current, args, 1)
    assert found.objections == ("it is of workload 'poetry', the new network of 'brightness'",)


@pytest.mark.usefixtures("store")
def test_a_verb_takes_the_workload_that_the_checkpoint_names_and_names_the_file_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = save_checkpoint(BrightnessNetwork(BrightnessSpec.tiny()), tmp_path / "small.safetensors", {})
    assert main(["inspect", "--checkpoint", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"] == {"features": 8}
    monkeypatch.delitem(WORKLOADS, "brightness")
    assert main(["inspect", "--checkpoint", str(path)]) == 3
    assert (
        f"{path} holds a network of no known workload: got 'brightness', there is classification, matting"
        in capsys.readouterr().err
    )
