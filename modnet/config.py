"""What every config is: those of `modnet.configs`, and those of pruning policies (`modnet.policies`), part of them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, model_validator

FORMER_NAMES = {
    "budget": "winner_limits",
    "max_alpha_difference": "max_output_difference",
    "max_mse_ratio": "max_error_ratio",
    "max_relative_mse_increase": "max_relative_error_increase",
    "size": "input_shape",
}
"""What version 0.1.0 called a field, and its name now."""


class Config(BaseModel, frozen=True, extra="forbid"):
    """Base of all configs: frozen, and a misspelt field is an error. A former name is refused with the one of now."""

    @model_validator(mode="before")
    @classmethod
    def _by_the_names_of_now(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for former in given.keys() & FORMER_NAMES.keys():
                if (name := FORMER_NAMES[former]) in cls.model_fields:
                    raise ValueError(f"{former} is called {name} now")
        return given
