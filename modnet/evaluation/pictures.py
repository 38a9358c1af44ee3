"""Pictures for reports, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Alpha = NDArray[np.float32]


@dataclass(frozen=True)
class ParetoPoint:
    """One network in the plot of accuracy against latency."""

    label: str
    latency_ms: float
    mse: float
    kind: str  # "unpruned", "candidate" or "winner"
    on_front: bool


@dataclass(frozen=True)
class MatteRow:
    """One image of a matte sheet: uint8 (H, W, 3) RGB, and mattes of it, float32 (H, W) in [0, 1]."""

    label: str
    image: Image
    mattes: tuple[Alpha, ...]


def pareto_plot(points: Sequence[ParetoPoint], title: str) -> bytes:
    """MSE against latency; the Pareto front is joined by a line."""
    colours = {"unpruned": "tab:gray", "candidate": "tab:blue", "winner": "tab:red"}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    front = sorted((p for p in points if p.on_front), key=lambda p: p.latency_ms)
    axes.plot([p.latency_ms for p in front], [p.mse for p in front], color="tab:blue", linewidth=1, alpha=0.5)
    for kind, colour in colours.items():
        chosen = [p for p in points if p.kind == kind]
        if chosen:
            axes.scatter([p.latency_ms for p in chosen], [p.mse for p in chosen], color=colour, label=kind, zorder=3)
    for point in points:
        axes.annotate(point.label, (point.latency_ms, point.mse), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.margins(x=0.15, y=0.15)
    axes.set(xlabel="median latency of the FP32 IR on the machine of the run [ms]", ylabel="MSE on val", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)


def matte_sheet(rows: Sequence[MatteRow], titles: Sequence[str]) -> bytes:
    """One line per image: the image, then its mattes.

    Args:
        rows: at least one.
        titles: of the mattes, as many as each row has.
    """
    figure = Figure(figsize=(2 * (1 + len(titles)), 2.7 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 1 + len(titles), squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        line[0].imshow(row.image)
        for axes, alpha in zip(line[1:], row.mattes, strict=True):
            axes.imshow(alpha, cmap="gray", vmin=0, vmax=1)
        for axes in line:
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(row.label, fontsize=8)
    for axes, title in zip(grid[0], ("image", *titles), strict=True):
        axes.set_title(title)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
