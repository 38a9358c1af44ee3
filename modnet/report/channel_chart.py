"""A network's channels and the cost of its branches as bars: before pruning grey, after it coloured."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from modnet.pruning.inspection import GroupChange, Inspection, branch_of, group_changes
from modnet.report.pictures import png

_BEFORE, _BEFORE_TEXT = "#c6cad0", "#6b7078"
_COLOURS = ("#3b6fb6", "#c8741d", "#33845a", "#9c4674", "#6d5fae", "#84663f")
_MOST_BRANCHES, _ROWS = 6, 3
_LOWEST = 2  # where bars of channels begin: a logarithm has no 0


def channel_chart(network: Inspection, before: Inspection | None = None) -> bytes:
    """PNG: a bar for every prunable group, in a panel for each branch, and a panel of the branches' MACs.

    Channels are drawn on a logarithmic axis, so that half of 16 can be seen beside half of 1280. `before` is drawn in
    grey beside the network; None draws it alone. A network of many branches, as one whose layers are numbered, is drawn
    in three rows without the MACs.
    """
    panels: dict[str, list[GroupChange]] = {}
    for change in group_changes(before or network, network):
        if change.prunable:
            panels.setdefault(branch_of(change.name), []).append(change)
    branches = dict.fromkeys([*panels, *(before or network).branches, *network.branches])
    if len(branches) > _MOST_BRANCHES:
        return _in_rows([change for changes in panels.values() for change in changes], network, before)
    colours = {branch: _COLOURS[index % len(_COLOURS)] for index, branch in enumerate(branches)}
    widest = max(panels, key=lambda branch: len(panels[branch]))
    others = [branch for branch in panels if branch != widest]

    figure = Figure(figsize=(14, 8.5), layout="constrained")
    figure.suptitle(_title(network, before), fontsize=12)
    # bars are about equally wide in all panels; the last one is for the costs
    widths = [len(panels[branch]) + 2 for branch in others]
    rows = figure.add_gridspec(2, 1, height_ratios=(1.05, 1))
    cells = rows[1].subgridspec(1, len(widths) + 1, width_ratios=[*widths, max(10, sum(widths) // 2)])
    places = {widest: rows[0]} | {branch: cells[0, index] for index, branch in enumerate(others)}
    for branch, place in places.items():
        names = [change.name.partition(".")[2] for change in panels[branch]]
        _draw_groups(figure.add_subplot(place), branch, panels[branch], colours[branch], before is not None, names)
    _draw_costs(figure.add_subplot(cells[0, len(widths)]), network, before, colours)
    return png(figure)


def _in_rows(changes: list[GroupChange], network: Inspection, before: Inspection | None) -> bytes:
    count = min(_ROWS, math.ceil(len(changes) / 6))
    figure = Figure(figsize=(14, 1 + 3 * count), layout="constrained")
    figure.suptitle(_title(network, before), fontsize=12)
    for row in range(count):
        part = changes[row * len(changes) // count : (row + 1) * len(changes) // count]
        title = f"{part[0].name} to {part[-1].name}"
        axes = figure.add_subplot(count, 1, row + 1)
        _draw_groups(axes, title, part, _COLOURS[row], before is not None, [change.name for change in part])
    return png(figure)


def _draw_groups(
    axes: Axes, title: str, changes: list[GroupChange], colour: str, is_comparison: bool, names: list[str]
) -> None:
    earlier = [sum(change.before or ()) for change in changes]
    now = [sum(change.after or ()) for change in changes]
    positions = range(len(changes))
    if is_comparison:
        _draw_bars(axes, [position - 0.21 for position in positions], earlier, 0.42, _BEFORE, _BEFORE_TEXT)
        _draw_bars(axes, [position + 0.21 for position in positions], now, 0.42, colour, colour)
    else:
        _draw_bars(axes, list(positions), now, 0.7, colour, colour)
    highest = max(*earlier, *now)
    axes.set_yscale("log", base=2)
    axes.set_ylim(_LOWEST, highest * 2)
    axes.yaxis.set_major_locator(FixedLocator([2**power for power in range(1, highest.bit_length())]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("channels", fontsize=8)
    axes.set_xlim(-0.7, len(changes) - 0.3)
    axes.set_xticks(positions, names, rotation=50, ha="right")
    axes.grid(axis="y", alpha=0.3)
    _dress(axes, title, colour)


def _draw_bars(axes: Axes, positions: list[float], values: list[int], width: float, colour: str, text: str) -> None:
    axes.bar(positions, values, width, color=colour)
    for position, value in zip(positions, values, strict=True):
        axes.annotate(
            str(value),
            (position, max(value, _LOWEST)),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7 if value < 1000 else 6,
            color=text,
        )


def _draw_costs(axes: Axes, network: Inspection, before: Inspection | None, colours: dict[str, str]) -> None:
    # the first branch on top
    pairs = [(network, 0.0, None)] if before is None else [(before, -0.21, _BEFORE), (network, 0.21, None)]
    for one, offset, grey in pairs:
        for position, (branch, colour) in enumerate(colours.items()):
            cost = one.branches.get(branch)
            macs = 0 if cost is None else cost.macs
            axes.barh(position + offset, macs / 1e9, 0.42 if before else 0.6, color=grey or colour)
            text = f" {macs / 1e9:.2f} · {macs / one.total.macs:.0%}"
            shade = _BEFORE_TEXT if grey else colour
            axes.text(macs / 1e9, position + offset, text, ha="left", va="center", fontsize=8, color=shade)
    axes.set_yticks(range(len(colours)), list(colours))
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel("GMAC · share of the network", fontsize=8)
    _dress(axes, "MACs by branch", "black")


def _dress(axes: Axes, title: str, colour: str) -> None:
    axes.set_title(title, fontsize=10, color=colour, loc="left", fontweight="bold")
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _title(network: Inspection, before: Inspection | None) -> str:
    now, size = network.total, "example inputs" if network.size is None else f"{network.size}×{network.size} image"
    if before is None:
        return f"{now.parameters / 1e6:.2f} M parameters, {now.macs / 1e9:.2f} GMAC ({size})"
    was = before.total
    return (
        f"before (grey) → after (coloured): {was.parameters / 1e6:.2f} → {now.parameters / 1e6:.2f} M parameters, "
        f"{was.macs / 1e9:.2f} → {now.macs / 1e9:.2f} GMAC ({size})"
    )
