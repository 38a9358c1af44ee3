"""What is measured of a network, and what the winner may cost."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from modnet.config import Config

Metric = Literal["mse", "mad", "sad", "grad", "conn"]
"""Errors of a matte, see `modnet.workloads.matting.metrics`."""

ALL_METRICS: tuple[Metric, ...] = get_args(Metric)
FEW_METRICS: tuple[Metric, ...] = ("mse", "mad")


SHEET_IMAGES = 8
"""How many images a sheet of the worst ones shows."""


class WinnerLimits(Config):
    """What the winner may cost. Among those that err little enough the fastest wins."""

    max_mse_ratio: float = Field(
        1.10,
        gt=0,
        title="Largest error, as a multiple of the unpruned network's",
        description="The fastest candidate wins whose tune MSE is at most so many times the unpruned network's. If "
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
