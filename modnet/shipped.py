"""Words for the networks that the project brings along. They are in `modnet/workloads/matting/weights/`."""

from typing import Literal, get_args

SHIPPED = "shipped"  # stands for the unpruned network that the project brings along, wherever a checkpoint is named

SHIPPED_PRUNED = "shipped-pruned"
"""Stands for the small network that the project brings along: the shipped one, pruned and retrained."""

SHIPPED_ORIGIN = "shipped with the project"
"""What the record of such a network says of where it came from."""

FrontName = Literal["fast", "balanced", "best"]
"""Networks of the front, between speed and error: each is on this machine at once, as an IR."""

FRONT: tuple[FrontName, ...] = get_args(FrontName)
USUAL: FrontName = "balanced"
"""What cuts people out where nobody names a network: the fastest that errs at most 1.10 times as much as the base."""
