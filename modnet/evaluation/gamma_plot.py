"""Sparse training as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modnet.evaluation.pictures import png
from modnet.records import ScaleDistribution
from modnet.training.slimming import SCALE_BINS


def gamma_plot(scales: Sequence[ScaleDistribution], title: str) -> bytes:
    """A histogram of |gamma| for every epoch, the darker the more channels, and the quintiles as lines; PNG.

    Args:
        scales: at least one, as a training report has them: before the first epoch, then after each.
        title: over the plot.
    """
    counts = np.array([one.counts for one in scales], dtype=np.float64).T  # (bins, epochs)
    shares = counts / counts.sum(axis=0)
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    borders = np.arange(len(scales) + 1) - 0.5
    heat = axes.pcolormesh(borders, SCALE_BINS, np.ma.masked_equal(shares, 0), cmap="Blues", norm=LogNorm(1e-3, 1))
    figure.colorbar(heat, label="share of channels")
    for number, quintile in enumerate(zip(*(one.quintiles for one in scales), strict=True), start=1):
        shown = np.clip(quintile, SCALE_BINS[0], SCALE_BINS[-1])
        axes.plot(shown, linewidth=1.5, marker=".", label=f"{20 * number} %")
    axes.set(yscale="log", xlabel="epochs of sparse training", ylabel="|gamma| of prunable channels", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="not above", loc="lower left", fontsize=8)
    return png(figure)
