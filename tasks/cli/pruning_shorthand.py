"""Several prunings in one word, for a Makefile variable: `0.5/0.5,3.7G+1.34M:taylor`."""

from __future__ import annotations

import argparse
from typing import get_args

from pydantic import ValidationError

from modnet.configs import PruningConfig
from modnet.workloads import settings_named

CRITERIA: tuple[str, ...] = get_args(PruningConfig.model_fields["criterion"].annotation)
FORMS = (
    "threshold/ratio as 0.5/0.5, MACs as 3.7G, parameters as 1.34M, both as 3.7G+1.34M; "
    f"each with :criterion or without, one of {', '.join(CRITERIA)}; joined by commas"
)


def prunings(text: str) -> tuple[PruningConfig, ...]:
    """The configs that a word means; a budget by Taylor is what a run does by default.

    Raises:
        ArgumentTypeError: names the element that is none of the accepted forms, or out of range.
    """
    return tuple(_pruning(element.strip()) for element in text.split(","))


def _pruning(element: str) -> PruningConfig:
    try:
        return PruningConfig.from_word(element, settings_named(None).batch_only)
    except ValidationError as error:
        problems = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
        raise argparse.ArgumentTypeError(f"{element!r}: {problems}; wanted {FORMS}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; wanted {FORMS}") from error
