"""The networks that the project brings along; what they learnt from and how well is in the README beside them."""

from pathlib import Path

from modnet.configs import SHIPPED, SHIPPED_PRUNED

SHIPPED_BASE = Path(__file__).with_name("base.safetensors")
"""The unpruned one. Made by `benchmarks/making/shipped_base.py`."""

SHIPPED_BASE_IR = Path(__file__).with_name("base-cpu-fp16.xml")
"""The same as an IR of target `cpu-fp16`, for cut-outs without torch."""

SHIPPED_SMALL = Path(__file__).with_name("pruned.safetensors")
"""The unpruned one, pruned and retrained. Made by `benchmarks/making/shipped_pruned.py`."""


NAMED = {SHIPPED: SHIPPED_BASE, SHIPPED_PRUNED: SHIPPED_SMALL}
"""The checkpoints by the words for them."""


def checkpoint_path(named: str) -> Path:
    """The file of a checkpoint that a person named: the project's own for their words, else the path itself."""
    return NAMED.get(named, Path(named))
