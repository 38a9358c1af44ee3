"""What the winner may cost."""

from pydantic import Field

from modnet.config import Config


class WinnerLimits(Config):
    """What the winner may cost. Among those that err little enough the fastest wins."""

    max_error_ratio: float = Field(
        1.10,
        gt=0,
        title="Largest error, as a multiple of the unpruned network's",
        description="The fastest candidate wins whose tune error is at most so many times the unpruned network's. If "
        "none is that good, the one with the lowest error wins.",
    )
    max_parameters: int | None = Field(
        None, ge=1, description="Parameters of the deployed graph. Larger candidates never win. Empty: no limit."
    )
    max_macs: int | None = Field(
        None,
        ge=1,
        description="Multiply-accumulates for one 512×512 image. Larger candidates never win. Empty: no limit.",
    )
