"""`modnet config`: a nightly run's parameters from what `make nightly` is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.cli import main
from tasks.configs.compress import CompressConfig

Run = Callable[..., dict]
Refuse = Callable[..., tuple[int, str]]


def test_config_makes_paths_absolute(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some").mkdir()
    for name in ("some/portraits.zip", "base.ckpt"):
        Path(name).touch()
    config = run("config", "--dataset", "some/portraits.zip", "--base", "base.ckpt")["config"]
    assert config["dataset"]["source"] == str(Path("some/portraits.zip").absolute())
    assert config["base"]["checkpoint"] == str(Path("base.ckpt").absolute())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--base", "nope.ckpt"), "--base nope.ckpt: no such file; wanted shipped, train, or the path of a checkpoint"),
        (("--base", "."), "--base .: no such file"),
        (("--start", "nope.ckpt"), "--start nope.ckpt: no such file; wanted unpruned, shipped-pruned, or the path of"),
        (("--dataset", "nope.zip"), "--dataset nope.zip: no such file; wanted synthetic, ppm-100, a zip or a URL"),
        (("--dataset", "."), "--dataset .: is a folder; wanted synthetic"),
    ],
    ids=["no base", "a folder as base", "no start", "no data set", "a folder as data set"],
)
def test_config_refuses_files_that_are_not_there(flags: tuple[str, ...], message: str, refuse: Refuse) -> None:
    code, error = refuse("config", *flags)
    assert (code, message in error) == (3, True), error


def test_config_states_a_licence_that_there_is(run: Run, refuse: Refuse) -> None:
    assert run("config", "--licence", "mit")["config"]["release"] == {"licence": "MIT", "share": 1.0}
    assert run("config", "--share", "0.2")["config"]["release"] == {"licence": None, "share": 0.2}
    assert run("config")["config"]["release"] == {"licence": None, "share": 1.0}
    code, error = refuse("config", "--licence", "mine")
    assert (code, "--licence mine: unknown licence: got 'mine', wanted an identifier of" in error) == (3, True), error


def test_config_leaves_urls_to_the_run(run: Run) -> None:
    assert run("config", "--dataset", "https://x/y.zip")["config"]["dataset"]["source"] == "https://x/y.zip"


@pytest.mark.parametrize("profile", ["demo", "standard"])
@pytest.mark.parametrize(
    ("flags", "checkpoint"),
    [((), "shipped"), (("--base", "shipped"), "shipped"), (("--base", "train"), None)],
    ids=["by default", "shipped", "train"],
)
def test_config_says_what_is_pruned(profile: str, flags: tuple[str, ...], checkpoint: str | None, run: Run) -> None:
    config = run("config", "--profile", profile, *flags)["config"]
    assert config["base"]["checkpoint"] == checkpoint
    assert CompressConfig.model_validate(config) == CompressConfig(profile=profile, base={"checkpoint": checkpoint})


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("0.5/0.5,0.3/0.25", ["0.5/0.5", "0.3/0.25"]),
        ("3.7G", ["3.7 GMAC"]),
        ("1.34M", ["1.34 M"]),
        ("3.7G+1.34M", ["3.7 GMAC 1.34 M"]),
        ("1.34M+3.7G", ["3.7 GMAC 1.34 M"]),
        ("3.7G:taylor, 0.5/0.5:bn_scale", ["3.7 GMAC taylor", "0.5/0.5 bn_scale"]),
    ],
    ids=lambda value: str(value),
)
def test_config_reads_every_form_of_pruning(word: str, labels: list[str], run: Run) -> None:
    config = CompressConfig.model_validate(run("config", "--pruning", word)["config"])
    assert [pruning.label for pruning in config.pruning] == labels


@pytest.mark.parametrize("profile", ["demo", "standard"])
def test_config_has_a_word_for_the_candidates_of_a_run(profile: str, run: Run) -> None:
    words = {
        "standard": ("--pruning", "10G:taylor,6.5G:taylor,3.7G+1.34M:taylor"),
        "demo": ("--start", "shipped-pruned", "--pruning", "3.7G+1.34M:taylor,3.3G:taylor,2.9G:taylor"),
    }
    said, usual = (run("config", "--profile", profile, *flags)["config"] for flags in (words[profile], ()))
    for config in (said, usual):
        for candidate in config["pruning"]:
            candidate["batch_only"] = []  # a small network has nothing more to lose there
    assert said == usual


def test_config_starts_a_demo_from_the_small_network_unless_something_else_is_compressed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.ckpt").touch()
    flags: dict[tuple[str, ...], str] = {
        (): "shipped-pruned",
        ("--pruning", "5G:taylor"): "unpruned",
        ("--base", "train"): "unpruned",
        ("--profile", "standard"): "unpruned",
        ("--start", "unpruned"): "unpruned",
        ("--start", "small.ckpt"): str(Path("small.ckpt").absolute()),
    }
    assert {given: run("config", *given)["config"]["start"] for given in flags} == flags
    assert run("config", "--start", "unpruned")["config"]["pruning"] != run("config")["config"]["pruning"]


def test_config_bounds_the_error_of_the_winner(run: Run) -> None:
    assert run("config")["config"]["winner_limits"]["max_error_ratio"] == 1.1
    assert run("config", "--max-mse-ratio", "1.3")["config"]["winner_limits"]["max_error_ratio"] == 1.3


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("0.5", "'0.5' is no way to prune"),
        ("0.5/", "'0.5/' is no way to prune"),
        ("3.7T", "'3.7T' is no way to prune"),
        ("3G+3G", "'3G+3G' is no way to prune"),
        ("0.5/0.5,", "'' is no way to prune"),
        ("0.5/1.5", "'0.5/1.5': global_ratio: Input should be less than 1"),
        ("3.7G:luck", "'3.7G:luck': criterion"),
        ("0G", "'0G': max_macs: Input should be greater than or equal to 1"),
    ],
    ids=lambda value: value[:12],
)
def test_config_says_the_forms_when_it_does_not_know_a_pruning(
    word: str, problem: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["config", "--pruning", word])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert problem in error
    assert "wanted threshold/ratio as 0.5/0.5, MACs as 3.7G" in error


def test_config_names_the_flag_whose_value_is_out_of_range(refuse: Refuse) -> None:
    code, error = refuse("config", "--max-mse-ratio", "0")
    assert code == 3
    assert "--max-mse-ratio 0.0: Input should be greater than 0" in error
