"""An inspection as rows of tables: totals, groups, layers, tensors; with an earlier network's figures beside it."""

from modnet.network import ChannelGroup
from modnet.policies.cost import Cost
from modnet.pruning.inspection import Inspection, group_changes

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
        rows.append({**row, "adaptive rule": group.adaptive_rule if group.prunable else "never", **_layers(group)})
    return rows


def total_rows(network: Inspection, before: Inspection | None = None) -> list[Row]:
    """One row for the whole deployed graph, then one per branch."""
    earlier = before or network
    rows = [_cost_row("**deployed graph**", network.total, earlier.total, before is not None)]
    for branch in dict.fromkeys([*earlier.branches, *network.branches]):
        costs = network.branches.get(branch), earlier.branches.get(branch)
        rows.append(_cost_row(f"**{branch}**", *costs, before is not None))
    return rows


def layer_rows(network: Inspection, before: Inspection | None = None) -> list[Row]:
    """One row per layer."""
    earlier = before or network
    return [
        _cost_row(path, network.layers.get(path), earlier.layers.get(path), before is not None)
        for path in dict.fromkeys([*earlier.layers, *network.layers])
    ]


def tensor_rows(network: Inspection, before: Inspection | None = None) -> list[Row]:
    """One row per tensor of the state dict: its shape, and the groups that its channels belong to."""
    holders: dict[str, list[str]] = {}
    for one in (before or network, network):
        for group, pieces in one.tensors.items():
            for piece in pieces:
                if group not in holders.setdefault(piece.tensor, []):
                    holders[piece.tensor].append(group)
    rows = []
    for name in dict.fromkeys([*(before or network).shapes, *network.shapes]):
        row = {"tensor": name, "shape": _shape(network.shapes.get(name))}
        if before is not None:
            row = {"tensor": name, "shape before": _shape(before.shapes.get(name)), "after": row["shape"]}
        rows.append({**row, "groups": ", ".join(holders.get(name, []))})
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
    places = [f"[{one.offset}:{one.offset + group.channels}]" if one.offset else "" for one in group.consumers]
    readers = [f"{one.module}{place}" for one, place in zip(group.consumers, places, strict=True)]
    return {"made by": ", ".join(makers), "read by": ", ".join(readers)}


def _shape(shape: tuple[int, ...] | None) -> str:
    return "–" if shape is None else "×".join(map(str, shape)) or "scalar"


def _width(parts: tuple[int, ...] | None) -> str:
    return "–" if parts is None else "+".join(map(str, parts))


def _left(before: int, after: int) -> str:
    return f"{after / before:.1%}" if before else "–"
