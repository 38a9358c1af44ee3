"""Help says what happens without a flag, and takes it from the settings themselves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

from modnet.configs import (
    AdaptivePolicy,
    BudgetPolicy,
    ExportConfig,
    GlobalThresholdPolicy,
    LatencyPolicy,
    PruningConfig,
    RetrainConfig,
    SensitivityConfig,
    TrainingConfig,
)
from modnet.workloads.matting.settings import AdaptationConfig, DistillationConfig
from tasks.cli import VERBS, _parser
from tasks.cli.fields import flag_of
from tasks.cli.values import Whole, amount, batch_sizes


def options_of(verb: str) -> Iterator[argparse.Action]:
    parser = argparse.ArgumentParser()
    VERBS[verb].add_flags(parser)
    yield from (action for action in parser._actions if action.option_strings and action.dest != "help")


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_a_sentence_that_says_what_happens_without_it(verb: str) -> None:
    for option in options_of(verb):
        said = option.help or ""
        wanted = r"\w.*\((.*; )?(required|default: .+)\)" if option.required else r"\w.*\((.*; )?default: .+\)"
        assert re.fullmatch(wanted, said), f"modnet {verb} {option.option_strings[0]}: {said}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_number_names_its_range(verb: str) -> None:
    """What reads 7 and not seven is a number; of lists and amounts each element is."""
    for option in options_of(verb):
        read = option.type
        if read not in (int, float, amount, batch_sizes) and not isinstance(read, Whole):
            continue
        said = option.help or ""
        wanted = r"\((each )?(from |above )?[\d.]+( to (below )?[\d.]+)?;|\(a multiple of \d+;"
        assert re.search(wanted, said), f"modnet {verb} {option.option_strings[0]}: {said}"


@pytest.mark.parametrize(
    ("verb", "config", "flags"),
    [
        ("train", TrainingConfig, ["epochs", "batch_size", "image_size", "learning_rate", "validate_every"]),
        ("retrain", RetrainConfig, ["initialise", "weight_decay", "precision", "schedule", "max_unreadable"]),
        ("adapt", AdaptationConfig, ["epochs", "batch_size", "image_size", "learning_rate"]),
        ("sensitivity", SensitivityConfig, ["images", "short_side", "allowed_loss"]),
        ("prune", AdaptivePolicy, ["backbone_threshold", "global_ratio"]),
        ("prune", GlobalThresholdPolicy, ["share", "floor"]),
        ("prune", BudgetPolicy, ["floor"]),
        ("prune", LatencyPolicy, ["floor"]),
        ("prune", PruningConfig, ["criterion", "channel_multiple", "min_channels", "taylor_images", "taylor_steps"]),
        ("optimize", ExportConfig, ["calibration_images", "max_float_layers", "max_relative_error_increase"]),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_defaults_in_help_are_those_of_the_settings(verb: str, config: type, flags: list[str]) -> None:
    said = {option.dest: (option.help or "") % vars(option) for option in options_of(verb)}
    for name in flags:
        default = config.model_fields[name].default
        shown = default if isinstance(default, str) else f"{default:g}"
        assert f"default: {shown})" in said[flag_of(config, name)]


def test_help_names_limits() -> None:
    said = {option.dest: option.help for option in options_of("retrain")}
    assert said["epochs"] == "Passes over the fit split. (1 to 1000; default: 10)"
    assert said["image_size"].endswith("(64 to 1024; a multiple of 32; default: 256)")
    assert said["learning_rate"].endswith("(above 0 to 1; default: 0.001)")
    assert said["patience"].endswith("without a better one. (from 1; default: never early)")
    assert said["workers"].endswith("(from 0; default: 0)")
    assert said["seed"].endswith("(0 to 2147483647; default: 0)")
    assert DistillationConfig.model_fields["features"].description in said["distill_features"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_can_be_printed(verb: str, capsys: pytest.CaptureFixture) -> None:
    """A per cent sign of a description, unescaped, makes argparse fail on help alone."""
    with pytest.raises(SystemExit) as end:
        _parser(verb.split()[0]).parse_args([*verb.split(), "--help"])
    assert end.value.code == 0
    assert "usage: modnet" in capsys.readouterr().out
