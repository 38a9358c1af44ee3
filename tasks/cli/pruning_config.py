"""The pruning that typed flags mean, as configs."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from modnet.configs import POLICIES, IterationConfig, LayerRatio, LayerRatiosPolicy, PruningConfig, RetrainConfig
from modnet.errors import ConfigError
from tasks.cli.fields import given_config
from tasks.cli.flags import Options
from tasks.cli.given import given_training
from tasks.cli.pruning_flags import DEFAULT_POLICY


def pruning_config(options: Options) -> PruningConfig:
    """The config of pruning once.

    Raises:
        ConfigError: a value out of range; names the flag, and of a list the element.
    """
    kind = POLICIES[options.policy or DEFAULT_POLICY]
    policy: Any
    if kind is LayerRatiosPolicy:
        policy = LayerRatiosPolicy(ratios=_layer_ratios(options.pruned_params, options.pruned_ratios))
    else:
        policy = given_config(kind, options)
    config: PruningConfig = given_config(PruningConfig, options, policy=policy)
    return config


def iteration_config(options: Options) -> IterationConfig:
    """The config of pruning in steps.

    Raises:
        ConfigError: a value out of range; names the flag.
    """
    pruning, retrain = pruning_config(options), given_training(RetrainConfig, options)
    config: IterationConfig = given_config(IterationConfig, options, pruning=pruning, retrain=retrain)
    return config


def _layer_ratios(patterns: list[str], ratios: list[str]) -> tuple[LayerRatio, ...]:
    """The two lists, element by element."""
    if len(patterns) != len(ratios):
        longer, flag = max((patterns, "--pruned-params"), (ratios, "--pruned-ratios"), key=lambda pair: len(pair[0]))
        first = min(len(patterns), len(ratios))
        raise ConfigError(
            f"--pruned-params has {len(patterns)} elements, --pruned-ratios {len(ratios)}: "
            f"element {first + 1} of {flag}, {longer[first]!r}, has no partner"
        )
    entries = []
    for number, (pattern, ratio) in enumerate(zip(patterns, ratios, strict=True), start=1):
        try:
            entries.append(LayerRatio.model_validate({"pattern": pattern, "ratio": ratio}))
        except ValidationError as error:
            raise ConfigError(
                f"element {number} of --pruned-params and --pruned-ratios, {pattern!r} and {ratio!r}: "
                + "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
            ) from error
    return tuple(entries)
