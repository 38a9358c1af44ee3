"""Runs of retraining: each is made once, goes on where it was killed, and tables and plots come from results alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from benchmarks import retraining
from modnet.checkpoint import load, save_checkpoint
from modnet.configs import PruningConfig, RetrainConfig, UniformPolicy
from modnet.data.synthetic import write_synthetic_archive
from modnet.errors import ConfigError
from modnet.models.modnet import MODNet
from modnet.pruning.plan import plan_pruning
from modnet.spec import ModnetSpec
from modnet.training.state import TrainingState

TINY = RetrainConfig(image_size=64, batch_size=2, epochs=1, validate_every=None, precision="fp32")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a tiny base, of which runs of every cell are small."""
    torch.manual_seed(0)
    base = MODNet(ModnetSpec.tiny())
    plan = tmp_path / "half.json"
    plan.write_text(
        plan_pruning(base, PruningConfig(policy=UniformPolicy(ratio=0.5), channel_multiple=1, min_channels=1)).to_json()
    )
    sizes = {"half": retraining.Run(plan, (TINY, TINY.model_copy(update={"image_size": 96})))}
    ways = ("initialise", "freeze_backbone", "distillation")
    study = {
        name: retraining.Run(
            plan, (TINY.model_copy(update={way: getattr(run.phases[0], way) for way in ways}),), run.seed
        )
        for name, run in retraining.STUDY.items()
    }
    for name, value in {
        "SIZES": sizes,
        "STUDY": study,
        "SHORT": {},
        "RUNS": sizes | study,
        "FOLDER": tmp_path / "results",
    }.items():
        monkeypatch.setattr(retraining, name, value)
    data = write_synthetic_archive(tmp_path / "portraits.zip", train=8, val=2, size=(72, 64), seed=0)
    checkpoint = save_checkpoint(base, tmp_path / "base.safetensors", {})
    files = {"dataset": data, "base": checkpoint, "cache": tmp_path / "cache", "weights": tmp_path / "weights"}
    return [text for name, path in files.items() for text in (f"--{name}", str(path))]


def test_runs_of_a_size_and_of_the_study_are_made_once_and_reported(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = ["half", "inherited-whole-alone-0", "inherited-whole-alone-1", "scratch-whole-alone-0"]
    assert retraining.main([*command, *names]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| half \| 0\.\d{3} \|", printed)
    inherited, scratch = (line.split(" | ") for line in printed.splitlines() if " | whole | no | " in line)
    assert len(inherited[4].split(", ")) == 2  # seeds
    assert inherited[7] == ""
    assert re.match(r"[+-]0\.\d+ \([+-].* to [+-].*\)", scratch[7])
    results = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert {"sizes.png", "study.png", "base.json", "half.training.jsonl"} < set(results)
    half = json.loads(results["half.json"])
    assert half["images_seen"] == 2 * 4  # both phases, the fit split
    assert [phase["image_size"] for phase in half["phases"]] == [64, 96]

    assert retraining.main([*command, *names]) == 0
    assert retraining.main(["--report"]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == results


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "SAVE_EVERY_S", 0.0)
    save = retraining._save_sometimes

    def killed(path: Path, saved_at: list[float], state: TrainingState) -> None:
        save(path, saved_at, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(retraining, "_save_sometimes", killed)
    with pytest.raises(KeyboardInterrupt):
        retraining.main([*command, "half"])
    assert (tmp_path / "weights" / "half-0.training-state").exists()
    steps: list[int] = []

    def noted(path: Path, saved_at: list[float], state: TrainingState) -> None:
        steps.append(state.step)
        save(path, saved_at, state)

    monkeypatch.setattr(retraining, "_save_sometimes", noted)
    assert retraining.main([*command, "half"]) == 0
    assert steps[0] == 2  # the first was not made again
    cut = load(tmp_path / "weights" / "half.safetensors").state_dict()

    (tmp_path / "results" / "half.json").unlink()
    command[command.index("--weights") + 1] = str(tmp_path / "others")
    assert retraining.main([*command, "half"]) == 0
    whole = load(tmp_path / "others" / "half.safetensors").state_dict()
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


@pytest.mark.parametrize("trained", ["whole", "fixed"])
def test_scratch_inherits_nothing_but_a_backbone_that_stays_fixed(trained: str) -> None:
    torch.manual_seed(1)
    pruned = MODNet(ModnetSpec.tiny())
    run = retraining.STUDY[f"scratch-{trained}-alone-0"]
    first = retraining.first_weights(pruned, run)
    same = {name for name, tensor in first.state_dict().items() if torch.equal(tensor, pruned.state_dict()[name])}
    convolutions = {name for name, one in first.named_modules() if isinstance(one, torch.nn.Conv2d)}
    inherited = {name for name in convolutions if f"{name}.weight" in same}
    assert inherited == {name for name in convolutions if trained == "fixed" and name.startswith("backbone")}


def test_runs_that_do_not_exist_are_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        retraining.main(["0.7M"])
    assert "no such runs: 0.7M; there are sizes, short, study, " in capsys.readouterr().err


def test_networks_of_other_settings_are_refused(command: list[str], tmp_path: Path) -> None:
    assert retraining.main([*command, "half"]) == 0
    (tmp_path / "results" / "half.json").unlink()
    run = retraining.RUNS["half"]
    longer = (TINY.model_copy(update={"epochs": 2}), *run.phases[1:])
    retraining.RUNS["half"] = retraining.Run(run.plan, longer)
    with pytest.raises(ConfigError, match="half-0.safetensors was made with other phases"):
        retraining.main([*command, "half"])
