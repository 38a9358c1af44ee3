"""The engine prunes, trains, keeps and exports networks of which it knows nothing but their workload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modnet.checkpoint import read_checkpoint, save_checkpoint, workload_in
from modnet.config import Config
from modnet.configs import PruningConfig, RetrainConfig, TrainingConfig, UniformPolicy
from modnet.errors import CheckpointError, ConfigError, ExportError
from modnet.export.export import export_network
from modnet.export.openvino_graph import OpenvinoGraph
from modnet.graph_function import TorchGraph
from modnet.network import Input
from modnet.pruning.plan import plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.training.retrain import retrain
from modnet.workload import Sample
from modnet.workloads import WORKLOADS, Home, settings_named, workload_named
from modnet.workloads.matting.checkpoint import load as load_matting
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import DistillationConfig
from modnet.workloads.matting.workload import MATTING
from tests.unit.modnet.brightness import BRIGHTNESS, BrightnessNetwork, BrightnessSpec, DrawnImages

TRAINING = TrainingConfig(epochs=8, batch_size=4, image_size=64, learning_rate=3e-2, precision="fp32")


def trained(seed: int = 0) -> BrightnessNetwork:
    torch.manual_seed(seed)
    network = BrightnessNetwork(BrightnessSpec.full())
    retrain(network, DrawnImages(16), TRAINING, workload=BRIGHTNESS, seed=0)
    return network


def mean_error(network: BrightnessNetwork) -> float:
    samples = [DrawnImages(4, seed=1)[index] for index in range(4)]
    with torch.no_grad():
        errors = [(network.eval().deployed()(one.image[None]) - one.brightness).square().mean() for one in samples]
    return float(torch.stack(errors).mean())


def test_a_network_of_another_workload_is_pruned_retrained_kept_and_exported(tmp_path: Path) -> None:
    base = trained()
    config = PruningConfig(policy=UniformPolicy(ratio=0.75), channel_multiple=1, min_channels=1)
    pruned = apply_plan(base, plan_pruning(base, config))
    assert pruned.spec == BrightnessSpec(features=8)
    report = retrain(pruned, DrawnImages(16), TRAINING, workload=BRIGHTNESS, seed=0)
    assert report.history[-1].losses["brightness"] < report.history[0].losses["brightness"]
    assert mean_error(pruned) < 0.01

    path = save_checkpoint(pruned, tmp_path / "small.safetensors", {"made": "here"})
    read = read_checkpoint(path, BRIGHTNESS)
    assert (read.layout, read.provenance, read.network.spec) == ("modnet", {"made": "here"}, pruned.spec)

    images = [DrawnImages(1, size=64)[0].image[None].numpy()]
    exported = export_network(
        read.network, tmp_path / "out", size=64, targets=["cpu-fp32", "ncs2-fp16"], parity_images=images
    )
    assert set(exported.parity) == {"onnx", "cpu-fp32", "ncs2-fp16"}
    graph = OpenvinoGraph(tmp_path / "out" / "modnet-cpu-fp32.xml")
    np.testing.assert_allclose(graph(images[0]), TorchGraph(read.network)(images[0]), atol=1e-5)


def test_a_checkpoint_of_one_workload_is_refused_by_another_with_both_names(tmp_path: Path) -> None:
    own = save_checkpoint(BrightnessNetwork(BrightnessSpec.tiny()), tmp_path / "own.safetensors", {})
    with pytest.raises(CheckpointError, match="of workload 'brightness', wanted 'matting'"):
        load_matting(own)
    matting = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "matting.safetensors", {})
    with pytest.raises(CheckpointError, match="of workload 'matting', wanted 'brightness'"):
        read_checkpoint(matting, BRIGHTNESS)


def test_a_foreign_file_is_refused_by_a_workload_without_published_networks(tmp_path: Path) -> None:
    torch.save(BrightnessNetwork(BrightnessSpec.tiny()).state_dict(), tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of this project, and workload 'brightness' has no others"):
        read_checkpoint(tmp_path / "foreign.pt", BRIGHTNESS)


def test_a_teacher_is_refused_where_networks_cannot_teach() -> None:
    network, teacher = (BrightnessNetwork(BrightnessSpec.tiny()) for _ in range(2))
    config = RetrainConfig(**TRAINING.model_dump(), distillation=DistillationConfig())
    with pytest.raises(ConfigError, match="'brightness' cannot teach"):
        retrain(network, DrawnImages(4), config, workload=BRIGHTNESS, seed=0, teacher=teacher)


class Copying(Config):
    weight: float = 1.0


class CopyingTeacher:
    def __init__(self, teacher: BrightnessNetwork, student: BrightnessNetwork, config: Copying) -> None:
        self.adapters, self.teacher, self.weight = nn.ModuleList(), teacher, config.weight

    def learn(
        self, student: BrightnessNetwork, inputs: Sample, predict: Callable[[Any, Sample], Any]
    ) -> tuple[Any, dict[str, Tensor]]:
        predicted = predict(student, inputs)
        wanted = predict(self.teacher, inputs).brightness.detach()
        return predicted, {"copied": self.weight * (predicted.brightness - wanted).square().mean()}


def test_a_workload_says_by_settings_of_its_own_how_a_teacher_teaches() -> None:
    teaching = replace(BRIGHTNESS, teaching=CopyingTeacher)
    torch.manual_seed(0)
    teacher = BrightnessNetwork(BrightnessSpec.tiny())
    first = []
    for weight in (1.0, 0.5):
        config = RetrainConfig(**TRAINING.model_dump(), distillation=Copying(weight=weight))
        assert config.model_dump()["distillation"] == {"weight": weight}
        torch.manual_seed(1)
        student = BrightnessNetwork(BrightnessSpec.tiny())
        one_step = config.model_copy(update={"epochs": 1})
        report = retrain(student, DrawnImages(4), one_step, workload=teaching, seed=0, teacher=teacher)
        first.append(report.history[0].losses["copied"])
    assert first[1] == pytest.approx(first[0] / 2)


def test_a_backbone_cannot_stay_as_it_is_where_there_is_none() -> None:
    config = TRAINING.model_copy(update={"freeze_backbone": True})
    with pytest.raises(ConfigError, match="a BrightnessNetwork has no backbone"):
        retrain(BrightnessNetwork(BrightnessSpec.tiny()), DrawnImages(4), config, workload=BRIGHTNESS, seed=0)


class Grey(NamedTuple):
    image: Tensor


class GreyImages(DrawnImages):
    def __getitem__(self, index: int) -> Grey:
        return Grey(super().__getitem__(index).brightness)


def test_a_sample_that_does_not_fit_the_inputs_is_refused_with_both() -> None:
    network = BrightnessNetwork(BrightnessSpec.tiny())
    with pytest.raises(ConfigError, match=r"a Grey does not fit a BrightnessNetwork: got .*\(4, 1, 64, 64\), wanted"):
        retrain(network, GreyImages(4), TRAINING, workload=BRIGHTNESS, seed=0)


def test_matting_is_a_workload_like_any_other() -> None:
    assert (MATTING.name, MATTING.network(MATTING.spec.tiny()).spec) == ("matting", MATTING.spec.tiny())


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="workload: got 'poetry', there is classification, matting"):
        workload_named("poetry")


def test_a_workload_may_add_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORKLOADS, "brightness", Home("tests.unit.modnet.brightness:BRIGHTNESS"))
    settings = settings_named("brightness")
    assert (settings.training, settings.retraining) == (TrainingConfig, RetrainConfig)


def test_a_checkpoint_says_its_workload_and_what_does_not_is_asked_of_nobody(tmp_path: Path) -> None:
    own = save_checkpoint(BrightnessNetwork(BrightnessSpec.tiny()), tmp_path / "own.safetensors", {})
    torch.save(BrightnessNetwork(BrightnessSpec.tiny()).state_dict(), tmp_path / "foreign.pt")
    assert (workload_in(own), workload_in(tmp_path / "foreign.pt")) == ("brightness", None)
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        workload_in(tmp_path / "missing.safetensors")


def test_a_header_whose_workload_is_no_name_is_refused_with_the_file(tmp_path: Path) -> None:
    network = BrightnessNetwork(BrightnessSpec.tiny())
    network.workload = ["brightness"]  # type: ignore[misc]
    path = save_checkpoint(network, tmp_path / "odd.safetensors", {})
    with pytest.raises(CheckpointError, match=r"odd\.safetensors is damaged: its workload is \['brightness'\]"):
        workload_in(path)


def test_a_network_of_two_inputs_is_refused_in_words(tmp_path: Path) -> None:
    class Twice(BrightnessNetwork):
        inputs = (Input("image", 3), Input("depth", 1))

    with pytest.raises(ExportError, match="a Twice has 2 inputs, graphs are written of one"):
        export_network(Twice(BrightnessSpec.tiny()), tmp_path / "out", targets=["cpu-fp32"], parity_images=[])
