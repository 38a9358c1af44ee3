"""What a person chooses. Every field's description and range appear in the Prefect UI's run form."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Base of all configs: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PruningConfig(Config):
    """One way to prune the base network."""

    backbone_threshold: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Backbone threshold",
        description="Backbone and lr16x: relative L1 norm, 0 to below 1, that a channel must reach to stay. 0 keeps all.",
    )
    global_ratio: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Global ratio",
        description="Detail and fusion branches: share of channels removed from each layer, 0 to below 1.",
    )
    channel_multiple: int = Field(8, ge=1, le=64, description="Widths become multiples of this; CPUs like 8 or 16.")
    min_channels: int = Field(8, ge=1, le=256, description="No layer gets narrower than this.")
