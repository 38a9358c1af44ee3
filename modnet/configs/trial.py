"""When a release on trial takes the place of the one that a target runs."""

from __future__ import annotations

from pydantic import Field

from modnet.config import Config


class TrialConfig(Config):
    """When a release on trial takes the place of the one that a target runs."""

    margin: float = Field(
        0.02,
        ge=0,
        le=1,
        description="A release may err more by this share of the error of the one that runs, and surely by no more.",
    )
    silent_after_h: float = Field(
        24,
        gt=0,
        le=720,
        description="A device that has reported on nothing on trial for so many hours is not awaited any longer.",
    )
