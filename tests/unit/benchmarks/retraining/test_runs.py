"""Runs of retraining: each is made once, goes on where it was killed, and tables and plots come from results alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from benchmarks.inputs import PROTOCOL
from benchmarks.latency.tables import REFERENCE
from benchmarks.retraining.__main__ import main
from benchmarks.retraining.plots import sizes_plot
from benchmarks.retraining.report import recipe_differences, sizes_table, smallest_accepted, study_differences
from benchmarks.retraining.results import Results
from benchmarks.retraining.runs import OTHERS, SIZES, STUDY, Run
from benchmarks.retraining.training import first_weights
from modnet.checkpoint import save_checkpoint
from modnet.configs import PruningConfig, RetrainConfig, UniformPolicy
from modnet.errors import ConfigError
from modnet.pruning.plan import plan_pruning
from modnet.training.state import TrainingState
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

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
        return main([*names, *paths, "--results", str(self.results)], self.groups)

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
    return Small(tmp_path, {"sizes": sizes, "others": {}, "study": study})


def test_runs_of_a_size_and_of_the_study_are_made_once_and_reported(
    small: Small, capsys: pytest.CaptureFixture
) -> None:
    names = ["half", "inherited-whole-alone-0", "inherited-whole-alone-1", "scratch-whole-alone-0"]
    assert small.run(*names) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| half \| 0\.\d{3} \|", printed)
    inherited, scratch = (line.split(" | ") for line in printed.splitlines() if " | whole | alone | " in line)
    assert [len(row[7].split(", ")) for row in (inherited, scratch)] == [2, 1]  # seeds
    (difference,) = (line.split(" | ") for line in printed.splitlines() if line.startswith("| scratch minus inherited"))
    assert re.fullmatch(r"[+-]0\.\d+ \([+-]0\.\d+ to [+-]0\.\d+\)", difference[2])
    assert len(difference[3].split(", ")) == 1  # the seed that both have
    left = small.left()
    assert {"sizes.png", "study.png", "base.json", "half.training.jsonl"} < set(left)
    half = json.loads(left["half.json"])
    assert half["images_seen"] == 2 * 4  # both phases, the fit split
    assert [phase["image_size"] for phase in half["phases"]] == [64, 96]

    assert small.run(*names) == 0
    assert main(["--report", "--results", str(small.results)], small.groups) == 0
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
    first = first_weights(pruned, STUDY[f"scratch-{trained}-alone-0"])
    same = {name for name, tensor in first.state_dict().items() if torch.equal(tensor, pruned.state_dict()[name])}
    convolutions = {name for name, one in first.named_modules() if isinstance(one, torch.nn.Conv2d)}
    inherited = {name for name in convolutions if f"{name}.weight" in same}
    assert inherited == {name for name in convolutions if trained == "fixed" and name.startswith("backbone")}


def test_runs_that_do_not_exist_are_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["0.7M"])
    assert "no such runs: 0.7M; there are sizes, others, study, " in capsys.readouterr().err


def test_a_report_of_nothing_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--report", "--results", str(tmp_path)])
    assert f"nothing to report: {tmp_path / 'base.json'} is missing" in capsys.readouterr().err


def test_networks_and_results_of_other_settings_are_refused(small: Small) -> None:
    assert small.run("half") == 0
    run = small.groups["sizes"]["half"]
    small.groups["sizes"]["half"] = Run(run.plan, run.phases, seed=1)
    with pytest.raises(ConfigError, match="half.json was made with other seed: name another --results, or remove it"):
        small.run("half")
    small.results.joinpath("half.json").unlink()
    longer = (TINY.model_copy(update={"epochs": 2}), *run.phases[1:])
    small.groups["sizes"]["half"] = Run(run.plan, longer)
    with pytest.raises(ConfigError, match="half-0.safetensors was made with other phases: name another --weights"):
        small.run("half")


def test_results_of_another_base_are_refused(small: Small) -> None:
    small.results.mkdir()
    small.results.joinpath("base.json").write_text(json.dumps({"base": "0123"}))
    with pytest.raises(ConfigError, match="base.json was made with other base: name another --results, or remove it"):
        small.run("half")


def _result(*errors: float) -> dict[str, object]:
    """A run's JSON with an MSE for each photograph of val; whatever else the tables read is 0.5."""
    names = ("mad", "unknown_mse", "unknown_mad")
    images = [{"stem": str(n), "mse": mse} | dict.fromkeys(names, 0.5) for n, mse in enumerate(errors)]
    val = {"split": "val", "protocol": PROTOCOL, "images": len(errors), "per_image": images}
    means = {"mse": sum(errors) / len(errors)} | dict.fromkeys(names, 0.5)
    return {
        "parameters": 10**6,
        "macs": 10**9,
        "tune": val | means | {"split": "tune"},
        "val": val | means,
        "seconds": 60,
    }


@pytest.mark.parametrize(
    ("second_seed", "shown"),
    [([(0.2, 0.3, 0.4)], "yes"), ([(0.09, 0.19, 0.29)], "no"), ([], "one seed")],
    ids=["agrees", "disagrees", "is missing"],
)
def test_a_difference_is_shown_when_every_seed_agrees_with_the_interval(
    tmp_path: Path, second_seed: list[tuple[float, ...]], shown: str
) -> None:
    results = Results(tmp_path)
    both = [(0.3, 0.4, 0.5), *second_seed]
    for seed, errors in enumerate(both):
        results.write(f"inherited-whole-alone-{seed}", _result(0.1, 0.2, 0.3))
        results.write(f"scratch-whole-alone-{seed}", _result(*errors))
    (row,) = (line for line in study_differences(results, STUDY).splitlines() if line.startswith("| scratch"))
    assert row.split(" | ")[-1] == f"{shown} |"
    mean = sum(errors[0] - 0.1 for errors in both) / len(both)
    assert f"{mean:+.5f} ({mean:+.5f} to {mean:+.5f})" in row  # every photograph differs by as much


def test_sizes_have_the_latency_that_was_measured(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for name in ("base", "headline"):
        results.write(name, _result(0.1, 0.2, 0.3))
    assert results.int8_latency("headline") is None
    sizes = {"headline": SIZES["headline"]}
    assert "5.0" not in sizes_table(results, sizes, {})
    rows = {REFERENCE: [20.0, 40.0], "headline cpu-int8, f32": [5.0, 10.0]}
    results.write("latency", {"rows": {name: {"samples_ms": samples} for name, samples in rows.items()}})
    assert " | 7.5 | 4.00 (4.00–4.00) | " in sizes_table(results, sizes, {})
    assert sizes_plot(results, sizes).startswith(b"\x89PNG")


def test_recipes_are_compared_on_the_same_plan(tmp_path: Path) -> None:
    results = Results(tmp_path)
    assert recipe_differences(results, SIZES, OTHERS) == "(nothing)"
    results.write("headline", _result(0.1, 0.2, 0.3))
    results.write("headline-whole", _result(0.2, 0.3, 0.4))
    results.write("widths-of-4", _result(0.1, 0.2, 0.3))  # another plan
    (row,) = recipe_differences(results, SIZES, OTHERS).splitlines()[2:]
    assert row.startswith("| headline-whole minus headline | +0.10000 (+0.10000 to +0.10000) | ")


@pytest.mark.parametrize(
    ("smaller", "larger", "said"),
    [
        (
            (0.25, 0.3),
            (0.2, 0.21),
            "The cheapest with a val MSE of at most 1.1 times the unpruned network's, 0.220000: "
            "11.5G, 2.000 M, 2.00 GMAC. "
            "It has 1.02 times as much, and the interval, 1.00 to 1.05, is below that.",
        ),
        ((0.2, 0.21), (0.2, 0.2), "headline, 1.000 M, 1.00 GMAC. It has 1.02 times as much"),
        ((0.1, 0.31), (0.3, 0.3), "and the interval, 0.50 to 1.55, allows more than that."),
        ((0.3, 0.3), (0.3, 0.3), "No network has a val MSE of at most 1.1 times the unpruned network's, 0.220000."),
    ],
    ids=["the larger", "the smaller", "uncertain", "none"],
)
def test_the_smallest_network_within_the_bound_is_named(
    tmp_path: Path, smaller: tuple[float, ...], larger: tuple[float, ...], said: str
) -> None:
    results = Results(tmp_path)
    results.write("base", _result(0.2, 0.2))
    results.write("headline", _result(*smaller))
    results.write("11.5G", _result(*larger) | {"parameters": 2 * 10**6, "macs": 2 * 10**9})
    assert said in smallest_accepted(results, SIZES)
