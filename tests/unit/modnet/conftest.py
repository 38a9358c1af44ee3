"""What the published networks computed when they were run. It is no part of the project: tests skip where it is not."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

SHARED = Path(__file__).resolve().parents[4] / "shared"


class Recordings:
    """Recorded inputs and outputs, by file name, and the weights behind them."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.spec_from_file_location("oracle_weights", folder / "weights.py")
        assert spec is not None
        assert spec.loader is not None
        self._weights = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._weights)
        self._folder = folder

    def read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._folder / name).read_text())
        return content

    def state(self, keys: Mapping[str, Sequence[int]], salt: int) -> dict[str, Tensor]:
        """The state dict of a recorded network."""
        make = self._weights.weights_for
        return {key: torch.from_numpy(np.asarray(make(key, tuple(shape), salt))) for key, shape in keys.items()}

    def image(self) -> Tensor:
        """The input of every recorded output: (1, 3, 512, 512)."""
        return torch.from_numpy(self._weights.image())


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    if not (SHARED / "oracle").is_dir():
        pytest.skip("the recorded outputs are not here")
    return Recordings(SHARED / "oracle")


@pytest.fixture(scope="session")
def portraits_base() -> Path:
    """Checkpoint of an unpruned network trained on photographs, in ModelCompression's layout."""
    path = SHARED / "weights" / "modnet_portraits_base.ckpt"
    if not path.is_file():
        pytest.skip("the trained base network is not here")
    return path
