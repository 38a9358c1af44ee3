"""An inspection as rows of tables, one of groups and one of costs; with an earlier network's figures beside it."""

from __future__ import annotations

from modnet.evaluation.inspection import Inspection, group_changes
from modnet.pruning.cost import Cost
from modnet.pruning.groups import ChannelGroup

Row = dict[str, str]


def group_rows(network: Inspection, before: Inspection | None = None) -> list[Row]:
    """One row per channel group: its channels, what is left of them, which layers make and read them.

    Layers are those of `before` where it is given. Parts of a group are joined by +; `[64:96]` are the positions that
    a layer reads of its concatenated input.
    """
    rows = []
    for change in group_changes(before or network, network):
        group = (before or network).groups.get(change.name) or network.groups[change.name]
        row = {"group": change.name, "channels": _width(change.before)}
        if before is not None:
            row = {"group": change.name, "before": _width(change.before), "after": _width(change.after)}
            row["left"] = _left(sum(change.before or ()), sum(change.after or ()))
        rows.append({**row, "rule": group.rule if group.prunable else "never", **_layers(group)})
    return rows


def cost_rows(network: Inspection, before: Inspection | None = None) -> list[Row]:
    """One row per layer, then one per branch, then the whole deployed graph."""
    earlier = before or network
    rows = []
    for path in dict.fromkeys([*earlier.layers, *network.layers]):
        rows.append(_cost_row(path, network.layers.get(path), earlier.layers.get(path), before is not None))
    for branch in dict.fromkeys([*earlier.branches, *network.branches]):
        costs = network.branches.get(branch), earlier.branches.get(branch)
        rows.append(_cost_row(f"**{branch}**", *costs, before is not None))
    rows.append(_cost_row("**deployed graph**", network.total, earlier.total, before is not None))
    return rows


def _cost_row(name: str, now: Cost | None, earlier: Cost | None, is_comparison: bool) -> Row:
    now, earlier = now or Cost(0, 0), earlier or Cost(0, 0)
    if not is_comparison:
        return {"layer": name, "parameters": f"{now.parameters:,}", "MMAC": f"{now.macs / 1e6:,.1f}"}
    return {
        "layer": name,
        "parameters before": f"{earlier.parameters:,}",
        "after": f"{now.parameters:,}",
        "left": _left(earlier.parameters, now.parameters),
        "MMAC before": f"{earlier.macs / 1e6:,.1f}",
        "MMAC after": f"{now.macs / 1e6:,.1f}",
        "MMAC left": _left(earlier.macs, now.macs),
    }


def _layers(group: ChannelGroup) -> Row:
    makers = [one.module for one in group.producers]
    readers = [
        f"{one.module}[{one.offset}:{one.offset + group.channels}]" if one.offset else one.module
        for one in group.consumers
    ]
    return {"made by": ", ".join(makers), "read by": ", ".join(readers)}


def _width(parts: tuple[int, ...] | None) -> str:
    return "–" if parts is None else "+".join(map(str, parts))


def _left(before: int, after: int) -> str:
    return f"{after / before:.1%}" if before else "–"
