"""The unpruned network that the project brings along; what it learnt from and how well is in the README beside it."""

from pathlib import Path

SHIPPED_BASE = Path(__file__).with_name("base.safetensors")
"""Made by `benchmarks/shipped_base.py`."""
