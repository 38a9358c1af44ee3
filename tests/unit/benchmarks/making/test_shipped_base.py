"""The recipe of the shipped base: no photograph changes its split, training needs little, scores reach the card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.inputs import PROTOCOL
from benchmarks.making import shipped_base
from modnet.checkpoint import save_checkpoint
from modnet.data.archives import extract_archive
from modnet.data.images import read_image
from modnet.errors import ConfigError, DatasetError
from modnet.workloads.matting.checkpoint import read_checkpoint
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

PROJECT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_base, "PORTRAIT_SIZE", (80, 64))
    monkeypatch.setattr(shipped_base, "UNSEEN_SIZE", (80, 64))
    monkeypatch.setattr(shipped_base, "UNSEEN_PORTRAITS", 2)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Stands for photographs."""
    return write_synthetic_archive(tmp_path / "photographs.zip", train=57, val=3, size=(72, 64), seed=9)


def test_mix_puts_portraits_in_the_place_of_photographs_and_leaves_the_others_in_their_split(
    photographs: Path, tmp_path: Path
) -> None:
    mixed = shipped_base.mix(photographs, 30, tmp_path)
    folder = extract_archive(photographs, tmp_path / "alone")
    alone = index_dataset(folder)
    for split in ("fit", "tune", "val"):
        assert [pair.stem for pair in mixed.index.split(split)] == [pair.stem for pair in alone.split(split)]
    assert mixed.facts["photographs"]["train"] == 27
    for split, is_drawn in (("train", lambda stem: int(stem) < 30), ("val", lambda stem: False)):
        for pair in getattr(mixed.index, split):
            size = read_image(mixed.folder / pair.image).shape
            assert size == ((80, 64, 3) if is_drawn(pair.stem) else (72, 64, 3))
    assert shipped_base.mix(photographs, 30, tmp_path) == mixed


def test_mix_refuses_portraits_whose_names_would_move_a_photograph_from_tune_to_fit(tmp_path: Path) -> None:
    few = write_synthetic_archive(tmp_path / "photographs.zip", train=5, val=1, size=(72, 64), seed=9)
    with pytest.raises(DatasetError, match="40 portraits would move photographs from tune to fit: 000"):
        shipped_base.mix(few, 40, tmp_path)


def test_training_imports_nothing_but_what_a_machine_that_only_trains_has() -> None:
    program = """
import sys

class Refuse:
    refused = {"openvino", "nncf", "onnx", "matplotlib", "prefect", "ray", "boto3", "flows", "rich"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.refused:
            raise ImportError(f"training imports {name}")
        return None

sys.meta_path.insert(0, Refuse())
from benchmarks.making import shipped_base
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_train_goes_on_where_it_was_killed_and_tells_how_the_network_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = write_synthetic_archive(tmp_path / "photographs.zip", train=5, val=1, size=(72, 64), seed=9)
    spec = ModnetSpec.tiny()
    monkeypatch.setattr(shipped_base.ModnetSpec, "full", classmethod(lambda cls: spec))
    monkeypatch.setattr("tasks.training_run.SAVE_STATE_EVERY_S", 0.0)
    monkeypatch.setattr("modnet.training.execution.computes_bf16", lambda device: False)  # both runs in one format
    common = ["train", "--dataset", str(photographs), "--portraits", "3", "--epochs", "2", "--size", "64"]
    write, states = shipped_base.write_atomically, 0

    def killed(path: Path, content: bytes) -> None:
        nonlocal states
        write(path, content)
        states += path.name == "training-state"
        if states == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(shipped_base, "write_atomically", killed)
    command = [*common, "--batch-size", "2", "--out", str(tmp_path / "cut")]
    with pytest.raises(KeyboardInterrupt):
        shipped_base.main(command)
    assert (tmp_path / "cut" / "training-state").exists()
    monkeypatch.setattr(shipped_base, "write_atomically", write)
    assert shipped_base.main(command) == 0
    assert not (tmp_path / "cut" / "training-state").exists()
    assert shipped_base.main([*common, "--batch-size", "2", "--out", str(tmp_path / "whole")]) == 0

    cut, whole = (read_checkpoint(tmp_path / name / "base.safetensors") for name in ("cut", "whole"))
    for name, tensor in whole.network.state_dict().items():
        np.testing.assert_array_equal(cut.network.state_dict()[name].numpy(), tensor.numpy(), err_msg=name)
    made = cut.provenance
    assert made["data"]["photographs"]["sha256"] == shipped_base.sha256_of_file(photographs)
    assert made["data"]["portraits"]["train"] == 3
    assert made["training"]["average_decay"] == 0.995
    assert made["result"]["images_seen"] == whole.provenance["result"]["images_seen"] > 0
    assert set(made["machine"]) == {"device", "torch", "opencv"}
    assert shipped_base.main(command) == 0  # found
    with pytest.raises(ConfigError, match="was made with other training, seed"):
        shipped_base.main([*command, "--epochs", "3", "--seed", "1"])


def test_score_writes_network_scores_and_card(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "weights" / "base.safetensors"
    shipped.parent.mkdir()
    card = shipped.with_name("README.md")
    card.write_text((PROJECT / "modnet" / "workloads" / "matting" / "weights" / "README.md").read_text())
    monkeypatch.setattr(shipped_base, "SHIPPED_BASE", shipped)
    digest = shipped_base.sha256_of_file(photographs)
    made = {
        "data": {"photographs": {"sha256": digest}},
        "result": {"seconds": 3600.0, "precision": "bf16", "images_seen": 33120, "best_epoch": 36},
        "machine": {"device": "a machine"},
    }
    trained = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "trained.safetensors", made)
    command = ["score", "--dataset", str(photographs), "--trained", str(trained), "--cache", str(tmp_path / "cache")]
    assert shipped_base.main(command) == 0
    record = json.loads(shipped.with_name("base.json").read_text())
    assert record["sha256"] == shipped_base.sha256_of_file(shipped)
    assert record["made"] == made == read_checkpoint(shipped).provenance
    assert [(one["data"], one["split"], one["protocol"], one["images"]) for one in record["scores"]] == [
        (data, split, protocol, images)
        for data, split, images in (("photographs", "tune", 5), ("photographs", "val", 3), ("rendered", "val", 2))
        for protocol in (PROTOCOL, "device-512")
    ]
    first = card.read_text()
    assert f"| 3 photographs, val | `{PROTOCOL}` |" in first
    assert "Trained in 1.00 h (bf16, a machine) on 33120 samples; kept: epoch 36." in first
    assert shipped_base.main(command) == 0  # the table is replaced, not repeated
    assert card.read_text() == first

    small = shipped.with_name("pruned.safetensors")
    monkeypatch.setattr(shipped_base, "SHIPPED_SMALL", small)
    assert shipped_base.main([*command, "--name", "pruned"]) == 0
    assert small.exists()
    assert first.split("<!-- scores of pruned -->")[0] == card.read_text().split("<!-- scores of pruned -->")[0]
    row = next(line for line in card.read_text().splitlines()[::-1] if line.startswith("| 3 photographs, val"))
    assert row.endswith("| 1.00 | 1.00 |")  # it is the same network


def test_score_refuses_a_network_that_learnt_from_other_photographs(photographs: Path, tmp_path: Path) -> None:
    made = {"data": {"photographs": {"sha256": "0" * 64}}}
    trained = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "trained.safetensors", made)
    with pytest.raises(DatasetError, match="learnt from 0000"):
        shipped_base.main(["score", "--dataset", str(photographs), "--trained", str(trained)])
