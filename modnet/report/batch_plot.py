"""Networks measured at several batch sizes, as a picture."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from modnet.evaluation.intervals import median_ratio_interval
from modnet.report.pictures import png


class BatchSamples(NamedTuple):
    """Latencies of one network at one batch size, in milliseconds; the i-th of all networks are of the same round."""

    network: str
    batch: int
    samples_ms: Sequence[float]


def batch_plot(measured: Sequence[BatchSamples], title: str) -> bytes:
    """Images a second against the batch size, and beside it how many times as fast as the first network each is; PNG.

    Every network is measured at every batch size.
    """
    networks = list(dict.fromkeys(one.network for one in measured))
    first = {one.batch: one for one in measured if one.network == networks[0]}
    figure = Figure(figsize=(9, 4), layout="constrained")
    speed, ratio = figure.subplots(1, 2)
    for network in networks:
        rows = sorted((one for one in measured if one.network == network), key=lambda one: one.batch)
        batches = [one.batch for one in rows]
        seconds = [median_ratio_interval(one.samples_ms, [1000.0] * len(one.samples_ms)) for one in rows]
        speed.plot(
            batches, [batch / one.mean for batch, one in zip(batches, seconds, strict=True)], marker="o", label=network
        )
        if network == networks[0]:
            ratio.axhline(1, color="black", linewidth=1, linestyle="--", label=network)
            ratio.plot([], [])  # keeps the colours of both plots the same
            continue
        faster = [median_ratio_interval(first[one.batch].samples_ms, one.samples_ms) for one in rows]
        below = [one.mean - one.low for one in faster]
        above = [one.high - one.mean for one in faster]
        ratio.errorbar(batches, [one.mean for one in faster], yerr=[below, above], marker="o", capsize=3)
    ticks = sorted(first)
    for axes in (speed, ratio):
        axes.set(xscale="log", xlabel="batch size")
        axes.set_xticks(ticks, [str(batch) for batch in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    speed.set(ylabel="images/s, median", ylim=(0, None))
    ratio.set(ylabel="times as fast as the first")
    figure.suptitle(title)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    return png(figure)
