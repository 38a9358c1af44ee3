"""The networks that the project brings along; what they learnt from and how well is in the README beside them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modnet.shipped import FRONT, SHIPPED, SHIPPED_PRUNED, FrontName
from modnet.targets import Shape, Target

FOLDER = Path(__file__).parent

SHIPPED_BASE = FOLDER / "base.safetensors"  # the unpruned one. Made by `benchmarks/making/shipped_base.py`

SHIPPED_SMALL = FOLDER / "pruned.safetensors"
"""The unpruned one, pruned and retrained. Made by `benchmarks/making/shipped_pruned.py`."""


NAMED = {SHIPPED: SHIPPED_BASE, SHIPPED_PRUNED: SHIPPED_SMALL}
"""The checkpoints by the words for them. `checkpoint_path` knows those of the front as well."""

_FRONT_WORDS: dict[str, FrontName] = {f"{SHIPPED}-{name}": name for name in FRONT}


@dataclass(frozen=True)
class FrontNetwork:
    """A network of the front, as its card says. Made by `benchmarks/making/front.py`."""

    name: FrontName  # fast, balanced or best
    checkpoint: Path  # the file that its IRs were made from
    # height and width that its IRs are stored at; turned, they read the same pixels in the other direction
    shape: Shape
    irs: dict[Target, Path]  # the `.xml` of each target

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The stored shape and the turned one; one alone where that is a square."""
        height, width = self.shape
        return (self.shape,) if height == width else (self.shape, (width, height))


@cache
def front_network(name: FrontName) -> FrontNetwork:
    """The network of a name, by its card `<name>.json`."""
    card = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    height, width = card["shape"]
    irs = {target: FOLDER / f"{name}-{target}.xml" for target in card["irs"]}
    return FrontNetwork(name, FOLDER / card["checkpoint"]["file"], (height, width), irs)


def checkpoint_path(named: str) -> Path:
    """The file of a checkpoint that a person named: the project's own for their words, else the path itself."""
    if named in _FRONT_WORDS:
        return front_network(_FRONT_WORDS[named]).checkpoint
    return NAMED.get(named, Path(named))
