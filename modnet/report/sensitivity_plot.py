"""Sensitivity curves as a picture and as a table."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from modnet.records import SensitivityChoice, SensitivityCurve
from modnet.report.pictures import png

_COLUMNS = 6


def sensitivity_plot(curves: Sequence[SensitivityCurve], choice: SensitivityChoice, title: str) -> bytes:
    """PNG: one small plot per group, all of one scale: loss against the share of channels removed.

    A dashed line stands at the allowed loss, a red one at the chosen ratio.
    """
    rows = math.ceil(len(curves) / _COLUMNS)
    figure = Figure(figsize=(2.1 * _COLUMNS, 1.5 * rows + 1), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    ratios = chosen_ratios(choice)
    for axes, curve in zip(grid.flat, curves, strict=False):
        axes.plot([0, *curve.losses], [0, *curve.losses.values()], marker=".", markersize=4, linewidth=1)
        axes.axhline(choice.allowed_loss, color="tab:gray", linewidth=0.8, linestyle="--")
        axes.axvline(ratios[curve.group], color="tab:red", linewidth=0.8)
        axes.set_title(f"{curve.group}  {ratios[curve.group]:.2f}", fontsize=7)
        axes.set_yscale("symlog", linthresh=0.1)  # losses reach from less than a hundredth to many times the baseline
        axes.tick_params(labelsize=6)
        axes.grid(alpha=0.3)
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    figure.supxlabel("share of the group's channels removed; red: chosen", fontsize=8)
    figure.supylabel("relative loss; dashed: allowed", fontsize=8)
    return png(figure)


def sensitivity_rows(curves: Sequence[SensitivityCurve], choice: SensitivityChoice) -> list[dict[str, str]]:
    """One row per group, the most sensitive first: its losses in percent and the chosen ratio."""
    ratios = chosen_ratios(choice)
    return [
        {
            "group": curve.group,
            **{f"loss at {ratio:g}": f"{100 * loss:+.1f} %" for ratio, loss in curve.losses.items()},
            "ratio": f"{ratios[curve.group]:.3f}",
        }
        for curve in sorted(curves, key=lambda curve: (ratios[curve.group], -max(curve.losses.values())))
    ]


def chosen_ratios(choice: SensitivityChoice) -> dict[str, float]:
    """Group name → share of its channels that goes."""
    return {entry.pattern: entry.ratio for entry in choice.policy.ratios}
