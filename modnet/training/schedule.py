"""Learning rate as a pure function of progress."""

import math
from collections.abc import Callable, Mapping
from typing import Literal


def cosine_with_warm_up(progress: float, warm_up: float = 0.05) -> float:
    """Factor of the peak learning rate at `progress` in [0, 1): linear rise during `warm_up`, then half a cosine to 0.

    At progress 0 it is 0: the very first step moves no weights, it only fills the optimiser's averages. Half a cosine
    is as in Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts.

    >>> [round(cosine_with_warm_up(p, warm_up=0.2), 2) for p in (0.0, 0.1, 0.2, 0.6)]
    [0.0, 0.5, 1.0, 0.5]
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def step_decay(progress: float) -> float:
    """A tenth after every quarter of the run, as the published trainer does.

    >>> [round(step_decay(p), 4) for p in (0.0, 0.24, 0.25, 0.5, 0.99)]
    [1.0, 1.0, 0.1, 0.01, 0.001]
    """
    return 0.1 ** int(4 * progress)


SCHEDULES: Mapping[Literal["cosine", "step"], Callable[[float], float]] = {
    "cosine": cosine_with_warm_up,
    "step": step_decay,
}
"""Factor of the peak learning rate as a function of progress in [0, 1)."""
