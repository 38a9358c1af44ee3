"""`modnet retrain`: a checkpoint of every epoch, and teachers that know less than their students."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modnet.checkpoint import save_checkpoint
from modnet.configs import RetrainConfig
from modnet.data.archives import extract_archive
from modnet.pruning.plan import network_digest
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits
from modnet.workloads.matting.workload import MATTING
from tasks.cli import main
from tasks.training_run import run_training

Run = Callable[..., dict]
Refuse = Callable[..., tuple[int, str]]


def test_retrain_keeps_a_checkpoint_of_every_epoch_when_asked(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    training = ("--dataset", archive, "--batch-size", 2, "--image-size", 64, "--precision", "fp32", "--keep-epochs")
    command = ("retrain", "--checkpoint", checkpoint, *training, "--out", tmp_path / "kept.safetensors")
    trained = run(*command, "--epochs", 3)
    epochs = sorted(tmp_path.glob("kept-epoch-*"))
    assert [path.name for path in epochs] == [f"kept-epoch-00{number}.safetensors" for number in (1, 2, 3)]
    assert [read_checkpoint(path).provenance["epoch"] for path in epochs] == [1, 2, 3]
    best, kept = load(epochs[trained["best_epoch"] - 1]).state_dict(), load(trained["checkpoint"]).state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in best.items())
    others = {path.read_bytes() for path in epochs}
    assert len(others) == 3

    Path(trained["checkpoint"]).unlink()
    Path(trained["curve"]).unlink()
    code, error = refuse(*command, "--epochs", 1)
    assert (code, "kept-epoch-001.safetensors and 2 more is there already" in error) == (3, True), error
    run(*command, "--epochs", 1, "--overwrite")
    assert [path.name for path in tmp_path.glob("kept-epoch-*")] == ["kept-epoch-001.safetensors"]


def test_train_makes_an_unpruned_network_of_random_weights(
    archive: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModnetSpec, "full", ModnetSpec.tiny)
    training = ("--epochs", 1, "--batch-size", 2, "--image-size", 64, "--precision", "fp32", "--validation-images", 1)
    trained = run("train", "--dataset", archive, *training, "--out", tmp_path / "base.safetensors")
    assert load(trained["checkpoint"]).spec == ModnetSpec.tiny()
    assert trained["tune_error"] > 0


def test_a_run_that_was_cut_keeps_the_epochs_that_were_still_to_come(
    archive: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Cut while it writes the second epoch's checkpoint, before the next state is saved."""
    folder = extract_archive(archive, tmp_path / "extracted")
    data, states, kept = Portraits(folder), [], []
    config = RetrainConfig(epochs=3, batch_size=2, image_size=64, precision="fp32")

    def cut(epoch: int, averaged: MODNet) -> None:
        kept.append((epoch, network_digest(averaged)))
        if len(kept) == 2:
            raise KeyboardInterrupt

    training = {"seed": 0, "device": "cpu", "save": lambda state: states.append(state.to_bytes()), "keep": cut}
    with pytest.raises(KeyboardInterrupt):
        run_training(load(checkpoint), MATTING, data, config, **training)
    run_training(load(checkpoint), MATTING, data, config, saved=states[-1], **training)
    assert [epoch for epoch, _ in kept] == [1, 2, 2, 3]
    assert kept[1] == kept[2]


def test_retrain_warns_when_the_teacher_is_worse_than_its_student(
    archive: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The better of two networks learns from the worse one, and the other way round."""
    torch.manual_seed(1)
    other = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "other.safetensors", {})
    scores = {}
    for network in (checkpoint, other):
        command = ("evaluate", "--checkpoint", network, "--dataset", archive, "--split", "tune", "--json")
        assert main([*map(str, command)]) == 0
        scores[network] = json.loads(capsys.readouterr().out)["mse"]
    better, worse = sorted(scores, key=lambda network: scores[network])
    training = ("--dataset", archive, "--epochs", 1, "--batch-size", 2, "--image-size", 64, "--learning-rate", 1e-9)
    for student, teacher in ((better, worse), (worse, better)):
        out = tmp_path / f"taught-{student.stem}.safetensors"
        command = ("retrain", "--checkpoint", student, "--teacher", teacher, *training, "--out", out, "--json")
        assert main([*map(str, command)]) == 0
        captured = capsys.readouterr()
        result = json.loads(captured.out)
        assert result["teacher_tune_error"] == pytest.approx(scores[teacher], rel=1e-4)
        told = f"modnet: warning: the teacher errs more on tune ({scores[teacher]:.5f}) than its student at the"
        assert (f"{told} start ({scores[student]:.5f})" in captured.err) == (student == better)
        assert (f"{told} end ({result['tune_error']:.5f})" in captured.err) == (scores[teacher] > result["tune_error"])
