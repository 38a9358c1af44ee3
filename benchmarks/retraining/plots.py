"""Plots of `benchmarks.retraining`, from the results that its runs have left and nothing else."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.inputs import PROTOCOL
from benchmarks.modelcompression.figures import PUBLISHED
from benchmarks.retraining.report import ACCEPTED, mean_scores, seeds_of
from benchmarks.retraining.results import BASE, Results, scores_of
from benchmarks.retraining.runs import WAYS, Runs
from modnet.evaluation.intervals import mean_interval
from modnet.report.pictures import png


def sizes_plot(results: Results, sizes: Runs) -> bytes:
    """MSE against MACs and, where it was measured, INT8 latency; the published networks, whose data are others."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    by_macs, by_latency = figure.subplots(1, 2, sharey=True)
    for runs, label, style in (
        (sizes, "retrained, 13 epochs, backbone fixed", "o-"),
        ([BASE], "unpruned", "D"),
    ):
        found = results.by_cost(runs)
        costs = [result["macs"] / 1e9 for _, result in found]
        _points(by_macs, costs, [name for name, _ in found], results, label=f"{label}; val", style=style)
        timed = [(name, latency.milliseconds) for name, _ in found if (latency := results.int8_latency(name))]
        _points(by_latency, [ms for _, ms in timed], [name for name, _ in timed], results, label=label, style=style)
    for axes, costs, label in (
        (by_macs, [one.gmac for one in PUBLISHED], "as published for MODNet-ModelCompression: other photographs"),
        (by_latency, [one.fp32_ms for one in PUBLISHED], "as published: other photographs, FP32, i7-8565U"),
    ):
        errors = [one.mse for one in PUBLISHED]
        axes.plot(costs, errors, "s--", color="grey", alpha=0.7, label=label)
        for cost, one in zip(costs, PUBLISHED, strict=True):
            _label(axes, one.name, cost, one.mse, "above")
        axes.axhline(ACCEPTED * results.val(BASE).error, color="C2", ls=":", label=f"{ACCEPTED:g} × unpruned")
        axes.margins(x=0.12)
        axes.grid(alpha=0.3, which="both")
        axes.legend(loc="upper right", fontsize=8)
    by_macs.set(xlabel="GMAC of the deployed graph, 512×512", ylabel=f"MSE on val, protocol {PROTOCOL}", yscale="log")
    by_macs.yaxis.set_major_formatter("{x:g}")
    by_macs.yaxis.set_minor_formatter("{x:g}")
    by_latency.set(xlabel="latency in INT8, ms, 512×512, two threads")
    figure.suptitle("Size, speed and accuracy after retraining; bars: 95 % over photographs")
    return png(figure)


def study_plot(results: Results, study: Runs) -> bytes:
    """Each run's MSE, by way; the intervals are those of the ways' means over images."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    cells = [cell for cell in itertools.product(*WAYS) if seeds_of(results, study, cell)]
    for x, cell in enumerate(cells):
        seeds = list(seeds_of(results, study, cell).values())
        mean = mean_interval(mean_scores(seeds), "mse")
        colour = "C0" if cell[0] == "inherited" else "C1"
        axes.errorbar(
            x, mean.mean, [[mean.mean - mean.low], [mean.high - mean.mean]], fmt="_", color=colour, capsize=5, alpha=0.6
        )
        axes.plot([x] * len(seeds), [scores_of(one, "val").errors["mse"] for one in seeds], "o", color=colour)
    axes.axhline(results.val(BASE).error, color="grey", ls=":", label="unpruned")
    axes.set_xticks(range(len(cells)), ["\n".join(cell) for cell in cells])
    axes.set(
        ylabel=f"MSE on val, protocol {PROTOCOL}", title="Ways of retraining the headline plan; bars: 95 % over images"
    )
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    return png(figure)


def _points(axes: Axes, costs: list[float], names: list[str], results: Results, *, label: str, style: str) -> None:
    """Networks by cost, with the intervals of their MSE."""
    means = [mean_interval(results.val(name), "mse") for name in names]
    bars = [[mean.mean - mean.low for mean in means], [mean.high - mean.mean for mean in means]]
    axes.errorbar(costs, [mean.mean for mean in means], bars, fmt=style, label=label, elinewidth=0.6, capsize=3)
    for cost, mean, name in zip(costs, means, names, strict=True):
        _label(axes, name, cost, mean.mean, "lower right" if name == BASE else "lower left")


_OFFSETS = {"above": (0, 8, "center"), "lower left": (-4, -11, "right"), "lower right": (4, -11, "left")}


def _label(axes: Axes, text: str, x: float, y: float, where: str) -> None:
    right, up, aligned = _OFFSETS[where]
    axes.annotate(text, (x, y), textcoords="offset points", xytext=(right, up), ha=aligned, fontsize=8)
