"""A training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modnet.records import EpochReport
from modnet.report.pictures import png

_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:cyan", "tab:olive")
_STYLES = ("solid", "dashed", "dotted")


def training_plot(history: Sequence[EpochReport], title: str) -> bytes:
    """Loss by term, and tune error where it was measured, epoch by epoch; PNG.

    Args:
        history: of at least one epoch.
        title: over the plot.
    """
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
