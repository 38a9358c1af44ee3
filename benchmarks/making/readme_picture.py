"""The picture in README: rendered portraits, cut out by the two networks that the project ships.

python -m benchmarks.making.readme_picture
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from modnet.pruning.complexity import complexity
from modnet.workloads.matting.checkpoint import read_checkpoint
from modnet.workloads.matting.data.protocols import Protocol
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.predict.composition import composite
from modnet.workloads.matting.predict.predictors import TorchPredictor
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_SMALL

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "cut-outs.png"
SEEDS = (1, 12)
BACKGROUND = (250, 206, 120)  # RGB
PROTOCOL: Protocol = "device-512"


def main() -> None:
    """Draws the picture and writes it into docs/."""
    networks = [read_checkpoint(path).network for path in (SHIPPED_BASE, SHIPPED_SMALL)]
    full, small = (f"{complexity(network).macs / 1e9:.2f} GMAC" for network in networks)
    titles = ("image", f"unpruned, {full}", f"pruned, {small}", "new background")
    figure = Figure(figsize=(8, 2.75 * len(SEEDS)), layout="constrained")
    grid = figure.subplots(len(SEEDS), len(titles))
    for line, seed in zip(grid, SEEDS, strict=True):
        image, _ = render_portrait(np.random.default_rng(seed))
        unpruned, pruned = (TorchPredictor(network, PROTOCOL)(image) for network in networks)
        person = composite(image, pruned, np.full_like(image, BACKGROUND))
        for axes, picture in zip(line, (image, unpruned, pruned, person), strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)  # colours are shown as they are
            axes.axis("off")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=10)
    figure.savefig(PICTURE, dpi=95)


if __name__ == "__main__":
    main()
