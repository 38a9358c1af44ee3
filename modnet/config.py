"""What every config is. The configs themselves are in `modnet.configs`, those of pruning policies in `modnet.policies`.

This file stands below both: a policy is part of a config.
"""

from __future__ import annotations

from pydantic import BaseModel


class Config(BaseModel, frozen=True, extra="forbid"):
    """Base of all configs: frozen, and a misspelt field is an error."""
