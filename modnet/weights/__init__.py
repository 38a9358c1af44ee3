"""The unpruned network that the project brings along; what it learnt from and how well is in the README beside it."""

from pathlib import Path

from modnet.configs import SHIPPED

SHIPPED_BASE = Path(__file__).with_name("base.safetensors")
"""Made by `benchmarks/shipped_base.py`."""


def checkpoint_path(named: str) -> Path:
    """The file of a checkpoint that a person named: the project's own for `shipped`, else the path itself."""
    return SHIPPED_BASE if named == SHIPPED else Path(named)
