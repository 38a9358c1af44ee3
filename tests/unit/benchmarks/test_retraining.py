"""Runs of retraining: each is made once, goes on where it was killed, and tables and plots come from results alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from benchmarks import retraining
from benchmarks.retraining_runs import STUDY, Run
from modnet.checkpoint import load, save_checkpoint
from modnet.configs import PruningConfig, RetrainConfig, UniformPolicy
from modnet.data.synthetic import write_synthetic_archive
from modnet.errors import ConfigError
from modnet.models.modnet import MODNet
from modnet.pruning.plan import plan_pruning
from modnet.spec import ModnetSpec
from modnet.training.state import TrainingState

TINY = RetrainConfig(image_size=64, batch_size=2, epochs=1, validate_every=None, precision="fp32")
WAYS = ("initialise", "freeze_backbone", "distillation")


class Small(NamedTuple):
    """The benchmark on a tiny base, with runs that are small."""

    folder: Path
    groups: dict[str, dict[str, Run]]

    def run(self, *names: str, weights: str = "weights") -> int:
        """Trains what is missing of some runs."""
        files = {"dataset": "portraits.zip", "base": "base.safetensors", "cache": "cache", "weights": weights}
        paths = [text for name, file in files.items() for text in (f"--{name}", str(self.folder / file))]
        return retraining.main([*names, *paths, "--results", str(self.results)], self.groups)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def left(self) -> dict[str, bytes]:
        """What the runs have left, by name of file."""
        return {path.name: path.read_bytes() for path in self.results.iterdir()}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    torch.manual_seed(0)
    base = MODNet(ModnetSpec.tiny())
    half = PruningConfig(policy=UniformPolicy(ratio=0.5), channel_multiple=1, min_channels=1)
    plan = tmp_path / "half.json"
    plan.write_text(plan_pruning(base, half).to_json())
    save_checkpoint(base, tmp_path / "base.safetensors", {})
    write_synthetic_archive(tmp_path / "portraits.zip", train=8, val=2, size=(72, 64), seed=0)
    study = {
        name: Run(plan, (TINY.model_copy(update={way: getattr(run.phases[0], way) for way in WAYS}),), run.seed)
        for name, run in STUDY.items()
    }
    sizes = {"half": Run(plan, (TINY, TINY.model_copy(update={"image_size": 96})))}
    return Small(tmp_path, {"sizes": sizes, "short": {}, "study": study})


def test_runs_of_a_size_and_of_the_study_are_made_once_and_reported(
    small: Small, capsys: pytest.CaptureFixture
) -> None:
    names = ["half", "inherited-whole-alone-0", "inherited-whole-alone-1", "scratch-whole-alone-0"]
    assert small.run(*names) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| half \| 0\.\d{3} \|", printed)
    inherited, scratch = (line.split(" | ") for line in printed.splitlines() if " | whole | no | " in line)
    assert len(inherited[4].split(", ")) == 2  # seeds
    assert inherited[7] == ""
    assert re.match(r"[+-]0\.\d+ \([+-].* to [+-].*\)", scratch[7])
    left = small.left()
    assert {"sizes.png", "study.png", "base.json", "half.training.jsonl"} < set(left)
    half = json.loads(left["half.json"])
    assert half["images_seen"] == 2 * 4  # both phases, the fit split
    assert [phase["image_size"] for phase in half["phases"]] == [64, 96]

    assert small.run(*names) == 0
    assert retraining.main(["--report", "--results", str(small.results)], small.groups) == 0
    assert small.left() == left


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.training_run.SAVE_STATE_EVERY_S", 0.0)
    to_bytes, steps = TrainingState.to_bytes, []

    def killed_at_the_third(state: TrainingState) -> bytes:
        steps.append(state.step)
        if len(steps) == 3:  # the second time of the last step: the epoch has ended
            raise KeyboardInterrupt
        return to_bytes(state)

    monkeypatch.setattr(TrainingState, "to_bytes", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        small.run("half")
    assert (small.folder / "weights" / "half-0.training-state").exists()
    assert steps == [1, 2, 2]
    assert small.run("half") == 0
    assert steps[3:5] == [2, 1]  # no step was made again; then comes the second phase
    cut = load(small.folder / "weights" / "half.safetensors").state_dict()

    small.results.joinpath("half.json").unlink()
    assert small.run("half", weights="others") == 0
    whole = load(small.folder / "others" / "half.safetensors").state_dict()
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


@pytest.mark.parametrize("trained", ["whole", "fixed"])
def test_scratch_inherits_nothing_but_a_backbone_that_stays_fixed(trained: str) -> None:
    torch.manual_seed(1)
    pruned = MODNet(ModnetSpec.tiny())
    first = retraining.first_weights(pruned, STUDY[f"scratch-{trained}-alone-0"])
    same = {name for name, tensor in first.state_dict().items() if torch.equal(tensor, pruned.state_dict()[name])}
    convolutions = {name for name, one in first.named_modules() if isinstance(one, torch.nn.Conv2d)}
    inherited = {name for name in convolutions if f"{name}.weight" in same}
    assert inherited == {name for name in convolutions if trained == "fixed" and name.startswith("backbone")}


def test_runs_that_do_not_exist_are_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        retraining.main(["0.7M"])
    assert "no such runs: 0.7M; there are sizes, short, study, " in capsys.readouterr().err


def test_a_report_of_nothing_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        retraining.main(["--report", "--results", str(tmp_path)])
    assert f"nothing to report: {tmp_path / 'base.json'} is missing" in capsys.readouterr().err


def test_networks_of_other_settings_are_refused(small: Small) -> None:
    assert small.run("half") == 0
    small.results.joinpath("half.json").unlink()
    run = small.groups["sizes"]["half"]
    longer = (TINY.model_copy(update={"epochs": 2}), *run.phases[1:])
    small.groups["sizes"]["half"] = Run(run.plan, longer)
    with pytest.raises(ConfigError, match="half-0.safetensors was made with other phases"):
        small.run("half")
