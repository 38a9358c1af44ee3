"""Tiny data sets of class folders, for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from modnet.configs import SyntheticConfig
from modnet.data.images import write_png
from modnet.workloads.classification.synthetic import draw


def drawn_folder(folder: Path, train: int = 60, val: int = 12, side: int = 64) -> Path:
    """The data set that a run renders, unpacked."""
    draw(folder / "drawn.zip", SyntheticConfig(train=train, val=val, height=side, width=side))
    with zipfile.ZipFile(folder / "drawn.zip") as archive:
        archive.extractall(folder)
    return folder


def grey_folder(folder: Path, counts: dict[str, int], height: int = 40, width: int = 40) -> Path:
    """Grey pictures: `counts` has how many by the path of a class, as `train/cat`."""
    for path, count in counts.items():
        (folder / path).mkdir(parents=True)
        for number in range(count):
            write_png(folder / path / f"{number}.png", np.full((height, width, 3), 100 + number, np.uint8))
    return folder
