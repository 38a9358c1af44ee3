"""The figures that MODNet-ModelCompression published."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A network of MODNet-ModelCompression: errors on its own photographs, MACs of the deployed graph by our count."""

    name: str
    parameters: float  # millions
    gmac: float
    megabytes: float
    mse: float
    mad: float
    fp32_ms: float  # i7-8565U
    stick_ms: float


PUBLISHED = (
    Published("MODNet", 6.45, 15.47, 25.64, 0.009912, 0.013661, 88.86, 167.93),
    Published("MODNet-P", 1.34, 3.66, 5.66, 0.018713, 0.022816, 45.93, 101.93),
)
PUBLISHED_MSE = {  # by what is pruned and what retraining starts from
    ("branches", "inherited"): 0.018291,
    ("branches", "scratch"): 0.015588,
    ("everything", "inherited"): 0.018632,
    ("everything", "scratch"): 0.016826,
}
