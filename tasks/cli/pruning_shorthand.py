"""Several prunings in one word, for a Makefile variable: `0.5/0.5,3.7G+1.34M:taylor`."""

from __future__ import annotations

import argparse
import re
from typing import get_args

from pydantic import ValidationError

from modnet.configs import AdaptivePolicy, Policy, PruningConfig, TargetPolicy
from tasks.cli.amounts import amount

CRITERIA: tuple[str, ...] = get_args(PruningConfig.model_fields["criterion"].annotation)
FORMS = (
    "threshold/ratio as 0.5/0.5, MACs as 3.7G, parameters as 1.34M, both as 3.7G+1.34M; "
    f"each with :criterion or without, one of {', '.join(CRITERIA)}; joined by commas"
)
_NUMBER = r"\d+(?:\.\d+)?"


def prunings(text: str) -> tuple[PruningConfig, ...]:
    """The configs that a word means; a target by Taylor is what a run does by default.

    Raises:
        ArgumentTypeError: names the element that is none of the accepted forms, or out of range.
    """
    return tuple(_pruning(element.strip()) for element in text.split(","))


def _pruning(element: str) -> PruningConfig:
    size, _, criterion = element.partition(":")
    try:
        policy = _policy(size)
        if isinstance(policy, TargetPolicy) and criterion == "taylor":
            return PruningConfig.towards(max_macs=policy.max_macs, max_parameters=policy.max_parameters)
        return PruningConfig.model_validate({"policy": policy, "criterion": criterion or "l1"})
    except ValidationError as error:
        problems = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
        raise argparse.ArgumentTypeError(f"{element!r}: {problems}; wanted {FORMS}") from error


def _policy(size: str) -> Policy:
    if found := re.fullmatch(rf"({_NUMBER})/({_NUMBER})", size):
        return AdaptivePolicy(backbone_threshold=float(found[1]), global_ratio=float(found[2]))
    parts = size.split("+")
    limits = {part[-1]: amount(part) for part in parts if re.fullmatch(rf"{_NUMBER}[GM]", part)}
    if len(limits) == len(parts):
        return TargetPolicy(max_macs=limits.get("G"), max_parameters=limits.get("M"))
    raise argparse.ArgumentTypeError(f"{size!r} is no way to prune; wanted {FORMS}")
