"""A training run as pictures: its losses, and what sparse training makes of the scales."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modnet.records import EpochReport, ScaleDistribution
from modnet.report.pictures import png
from modnet.training.slimming import SCALE_BINS

_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:cyan", "tab:olive")
_STYLES = ("solid", "dashed", "dotted")


def training_plot(history: Sequence[EpochReport], title: str) -> bytes:
    """Loss by term, and tune error where it was measured, epoch by epoch, at least one; PNG."""
    epochs = range(1, len(history) + 1)
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, term in enumerate(history[0].losses):
        # of each colour a whole line, then a dashed one: black and red say something else
        colour, style = _COLOURS[number % len(_COLOURS)], _STYLES[number // len(_COLOURS) % len(_STYLES)]
        losses = [one.losses[term] for one in history]
        axes.plot(epochs, losses, linewidth=1, color=colour, linestyle=style, label=term)
    axes.plot(epochs, [one.loss for one in history], color="black", linewidth=2, label="all terms")
    axes.set(yscale="log", xlabel="epoch", ylabel="loss on fit, mean over steps", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3, which="both")
    scores = [(epoch, one.tune_error) for epoch, one in zip(epochs, history, strict=True) if one.tune_error is not None]
    if scores:
        errors = axes.twinx()
        errors.plot(*zip(*scores, strict=True), color="tab:red", marker="o", label="tune error")
        errors.set(yscale="log", ylabel="tune error of the averaged weights")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return png(figure)


def gamma_plot(scales: Sequence[ScaleDistribution], title: str) -> bytes:
    """For every epoch a histogram of |gamma|, the darker the more channels, and below it the quintiles as lines; PNG.

    The histogram's axis is logarithmic: what is near 0 lies apart there. That of the quintiles is linear: at first all
    scales are near 1, where a logarithm puts the lines over each other. The scales, at least one, are those before the
    first epoch, then after each, as a training report has them.
    """
    counts = np.array([one.counts for one in scales], dtype=np.float64).T  # (bins, epochs)
    shares = counts / counts.sum(axis=0)
    figure = Figure(figsize=(7.5, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    borders = np.arange(len(scales) + 1) - 0.5
    heat = above.pcolormesh(borders, SCALE_BINS, np.ma.masked_equal(shares, 0), cmap="Greys", norm=LogNorm(1e-3, 1))
    figure.colorbar(heat, ax=above, label="share of channels")
    above.set(yscale="log", ylabel="|gamma|", title=title)
    quintiles = list(zip(*(one.quintiles for one in scales), strict=True))
    for number, quintile in enumerate(quintiles, start=1):
        below.plot(quintile, linewidth=1.5, marker=".", label=f"{20 * number} %")
    below.set(xlabel="epochs of sparse training", ylabel="|gamma|, quintiles")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.grid(alpha=0.3)
    figure.legend(title="share of channels that are not above", loc="outside lower center", ncols=5, fontsize=8)
    return png(figure)
