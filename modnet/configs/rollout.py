"""When a release that a share of the devices runs goes to all of them, and when it is stopped."""

from __future__ import annotations

from pydantic import Field

from modnet.config import Config


class RolloutConfig(Config):
    """When a release that a share of the devices runs goes to all of them, and when it is stopped."""

    hold_hours: float = Field(
        24, ge=0, le=720, description="At least so long does a share of the devices run a release before all get it."
    )
    slower_limit: float = Field(
        1.1,
        ge=1,
        le=100,
        description="A device that surely takes longer than so many times the release before stops the rollout.",
    )
    min_reports: int = Field(
        1,
        ge=1,
        le=10_000,
        description="So many devices must have sent a trustworthy report before all get the release.",
    )
