"""Pictures for reports, as PNG bytes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Picture = NDArray[np.uint8] | NDArray[np.float32]  # uint8 (H, W, 3), RGB, or float32 (H, W) in [0, 1], drawn in greys


@dataclass(frozen=True)
class ParetoPoint:
    """One network in the plot of accuracy against latency."""

    label: str
    latency_ms: float  # of the form that devices run
    fp32_ms: float | None  # of its FP32 form; None where that was not timed
    error_ratio: float  # its error as a multiple of the unpruned network's
    kind: str  # "unpruned", "candidate" or "winner"
    on_front: bool


@dataclass(frozen=True)
class SheetRow:
    """One image of a sheet: the pictures of it, from left to right."""

    label: str
    pictures: tuple[Picture, ...]


def pareto_plot(points: Sequence[ParetoPoint], title: str, *, form: str, bound: float, error: str) -> bytes:
    """Error against latency, as what devices run (`form`) and in FP32; the Pareto front is joined by a line.

    The bound is the largest error that a winner may have, as a multiple of the unpruned network's; `error` is its
    title.
    """
    colours = {"unpruned": "tab:gray", "candidate": "tab:blue", "winner": "tab:red"}
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    front = sorted((p for p in points if p.on_front), key=lambda p: p.latency_ms)
    axes.plot([p.latency_ms for p in front], [p.error_ratio for p in front], color="tab:blue", linewidth=1, alpha=0.5)
    axes.axhline(bound, color="tab:green", linestyle="--", linewidth=1, label=f"bound of the choice, {bound:g}")
    for kind, colour in colours.items():
        chosen = [p for p in points if p.kind == kind]
        if chosen:
            latencies, errors = [p.latency_ms for p in chosen], [p.error_ratio for p in chosen]
            axes.scatter(latencies, errors, color=colour, label=f"{kind}, {form}", zorder=3)
    for point in points:
        axes.annotate(
            point.label, (point.latency_ms, point.error_ratio), xytext=(6, 5), textcoords="offset points", fontsize=8
        )
        if point.fp32_ms is not None and form != "cpu-fp32":
            colour = colours[point.kind]
            ends = [point.latency_ms, point.fp32_ms]
            axes.plot(ends, [point.error_ratio] * 2, color=colour, linestyle=":", linewidth=1)
            axes.scatter(point.fp32_ms, point.error_ratio, facecolors="white", edgecolors=colour, zorder=3)
    if form != "cpu-fp32":
        axes.scatter([], [], facecolors="white", edgecolors="black", label="the same network as cpu-fp32")
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.2)
    axes.set(
        xlabel="median latency on the machine of the run [ms]",
        ylabel=f"{error} on val, times the unpruned network's",
        title=title,
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return png(figure)


def sheet(rows: Sequence[SheetRow], titles: Sequence[str]) -> bytes:
    """One line of pictures per image, at least one; as many titles as each row has pictures."""
    figure = Figure(figsize=(2 * len(titles), 2.7 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes, picture in zip(line, row.pictures, strict=True):
            axes.imshow(picture, **({} if picture.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}))
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(row.label, fontsize=8)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
