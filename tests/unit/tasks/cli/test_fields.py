"""A field of a config is a flag: what it is called, reads, says, and how it comes back."""

from __future__ import annotations

import argparse
from typing import Literal, get_args

import pytest
from pydantic import Field

from modnet.configs import Config, IterationConfig, Policy, RetrainConfig, SparsityConfig
from modnet.errors import ConfigError
from tasks.cli import VERBS
from tasks.cli.fields import add_fields, flag_fields, given_config
from tasks.cli.pruning_flags import FLAGS_OF, POLICIES


class Section(Config):
    depth: int = 0


class Settings(Config):
    """A field of every kind."""

    kind: Literal["settings"] = "settings"
    steps: int = Field(3, ge=1, le=20, description="How often.")
    rate: float = Field(0.5, gt=0, lt=1, description="How much, 10 % at least.")
    max_macs: int | None = Field(None, ge=1, description="How large. Empty: no limit.")
    word: Literal["one", "other"] = Field("one", description="Which.")
    name: str = Field("x", description="Whose.")
    is_quick: bool = Field(False, description="How fast.")
    patterns: tuple[str, ...] = Field((), description="Where.")
    shares: tuple[float, ...] = Field((0.1, 0.2), description="What parts.")
    max_ms: float = Field(ge=0, description="How long.")
    section: Section = Section()
    either: Section | IterationConfig = Section()


def read(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_fields(parser, Settings, *flag_fields(Settings))
    return parser.parse_args(words)


def test_every_kind_of_field_is_read_as_people_type_it() -> None:
    typed = ("--steps", "7", "--rate", "0.25", "--max-macs", "3.7G", "--word", "other", "--name", "y", "--is-quick")
    options = read(*typed, "--patterns", "a, b.*", "--shares", "0.3,0.6", "--max-ms", "2")
    assert given_config(Settings, options, section=Section(depth=2)) == Settings(
        steps=7,
        rate=0.25,
        max_macs=3_700_000_000,
        word="other",
        name="y",
        is_quick=True,
        patterns=("a", "b.*"),
        shares=(0.3, 0.6),
        max_ms=2,
        section=Section(depth=2),
    )


def test_what_is_not_typed_keeps_its_default() -> None:
    assert set(vars(read()).values()) == {None}
    assert given_config(Settings, read("--max-ms", "1")) == Settings(max_ms=1)


def test_sections_and_single_choices_have_no_flag() -> None:
    assert set(Settings.model_fields) - set(flag_fields(Settings)) == {"kind", "section", "either"}
    with pytest.raises(TypeError, match=r"Settings\.section can have no flag"):
        add_fields(argparse.ArgumentParser(), Settings, "section")


def test_help_is_description_range_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_fields(parser, Settings, *flag_fields(Settings))
    said = {option.dest: (option.help or "") % vars(option) for option in parser._actions}
    del said["help"]
    assert said == {
        "steps": "How often. (1 to 20; default: 3)",
        "rate": "How much, 10 % at least. (above 0 to below 1; default: 0.5)",
        "max_macs": "How large. (from 1; default: no limit)",
        "word": "Which. (default: one)",
        "name": "Whose. (default: x)",
        "is_quick": "How fast. (default: off)",
        "patterns": "Where. (default: none)",
        "shares": "What parts. (default: 0.1,0.2)",
        "max_ms": "How long. (from 0; default: none, it is needed)",
    }


def test_a_value_out_of_range_is_refused_with_the_name_of_its_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--steps 21: .* equal to 20; --max-ms -1\.0: "):
        given_config(Settings, read("--steps", "21", "--max-ms", "-1"))
    with pytest.raises(ConfigError, match=r"^--sparsity 2\.0: "):
        given_config(SparsityConfig, argparse.Namespace(sparsity=2.0))


def test_every_policy_and_every_field_of_it_has_a_flag_of_modnet_prune() -> None:
    parser = argparse.ArgumentParser()
    VERBS["prune"].add_flags(parser)
    options = {option.dest for option in parser._actions}
    assert set(POLICIES.values()) == set(get_args(Policy))
    for word, policy in POLICIES.items():
        assert set(flag_fields(policy)) <= options & set(FLAGS_OF[word])
        assert set(FLAGS_OF[word]) <= options


@pytest.mark.parametrize("verb", ["retrain", "prune"])
def test_every_field_of_a_training_has_a_flag_but_the_bound_on_gradients(verb: str) -> None:
    parser = argparse.ArgumentParser()
    VERBS[verb].add_flags(parser)
    options = {option.dest for option in parser._actions}
    assert set(flag_fields(RetrainConfig)) - options == {"max_gradient_norm"}
