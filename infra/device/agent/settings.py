"""With what children are started, and how long they may take."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RuntimeSettings:
    """A runtime of this machine: a Python that can import it.

    Attributes:
        name: what the log calls it.
        python: the interpreter, of 3.9 or newer.
        targets: that it runs; empty: all of the agent.
        environ: variables that differ from the agent's own, as PYTHONPATH, LD_LIBRARY_PATH, PYTHONHOME.
    """

    name: str = "here"
    python: Path = Path(sys.executable)
    targets: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)

    def runs(self, target: str) -> bool:
        """Whether it runs the target."""
        return not self.targets or target in self.targets


@dataclass(frozen=True)
class Deadlines:
    """How many seconds a child may take.

    Attributes:
        load_s: to start, to read and compile a network, for all golden images.
        inference_s: for one inference.
        all_s: for everything.
    """

    load_s: float = 300.0
    inference_s: float = 60.0
    all_s: float = 1800.0

    @classmethod
    def of(cls, load_s: float, inference_s: float, runs: int) -> Deadlines:
        """Those that leave room for so many inferences, of two networks, however long each of them may take."""
        return cls(load_s, inference_s, max(cls.all_s, 2 * (load_s + runs * inference_s)))
