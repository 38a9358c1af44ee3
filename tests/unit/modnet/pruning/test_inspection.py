"""What networks consist of, alone and beside each other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.architectures import conv
from modnet.errors import ConfigError
from modnet.pruning.complexity import complexity
from modnet.pruning.inspection import Inspection, group_changes, inspect_network
from modnet.pruning.traced_network import TracedNetwork
from modnet.report.channel_chart import channel_chart
from modnet.report.inspection_tables import group_rows, layer_rows, tensor_rows, total_rows
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.fixture(scope="module")
def network() -> MODNet:
    return MODNet(ModnetSpec.tiny())


@pytest.fixture(scope="module")
def inspected(network: MODNet) -> Inspection:
    return inspect_network(network, size=64)


@pytest.fixture(scope="module")
def narrower(network: MODNet) -> Inspection:
    return inspect_network(network.resized({"fusion.f2x": (1, 1), "backbone.last": (2,)}), size=64)


def without_skip(network: MODNet) -> MODNet:
    index = next(i for i, block in enumerate(network.spec.blocks) if block.residual)
    blocks = list(network.spec.blocks)
    blocks[index] = blocks[index].model_copy(update={"residual": False})
    return MODNet(network.spec.model_copy(update={"blocks": tuple(blocks)}))


def test_inspect_network_adds_layers_up_to_branches_and_the_whole(network: MODNet, inspected: Inspection) -> None:
    whole = complexity(network, size=64)
    assert (inspected.total.parameters, inspected.total.macs) == (whole.parameters, whole.macs)
    assert list(inspected.branches) == ["backbone", "semantic", "detail", "fusion"]
    assert sum(cost.macs for cost in inspected.branches.values()) == whole.macs


def test_inspect_network_finds_every_tensor_with_channels_in_a_group(network: MODNet, inspected: Inspection) -> None:
    held = {piece.tensor for pieces in inspected.tensors.values() for piece in pieces}
    assert held == {name for name, tensor in network.state_dict().items() if tensor.dim() > 0}


def test_inspect_network_raises_when_the_size_is_no_multiple_of_32(network: MODNet) -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        inspect_network(network, size=100)


def test_group_changes_shows_only_what_was_narrowed(inspected: Inspection, narrower: Inspection) -> None:
    changed = {
        one.name: (one.before, one.after) for one in group_changes(inspected, narrower) if one.before != one.after
    }
    assert changed == {
        "backbone.last": (inspected.groups["backbone.last"].parts, (2,)),
        "fusion.f2x": (inspected.groups["fusion.f2x"].parts, (1, 1)),
    }


def test_group_changes_finds_a_group_by_its_layers_when_a_skip_is_gone(network: MODNet, inspected: Inspection) -> None:
    lost = inspect_network(without_skip(network), size=64)
    assert len(lost.groups) == len(inspected.groups) + 1
    assert all(one.before == one.after for one in group_changes(inspected, lost))
    assert all(one.before == one.after for one in group_changes(lost, inspected))


def test_group_changes_names_groups_that_only_one_network_has(network: MODNet, inspected: Inspection) -> None:
    blocks = list(network.spec.blocks)
    del blocks[max(i for i, block in enumerate(blocks) if block.residual)]
    shorter = inspect_network(MODNet(network.spec.model_copy(update={"blocks": tuple(blocks)})), size=64)
    last = f"backbone.blocks.{len(blocks)}"
    expected = [f"{last}.hidden", f"{last}.output"]
    assert [one.name for one in group_changes(inspected, shorter) if one.after is None] == expected
    assert [one.name for one in group_changes(shorter, inspected) if one.before is None] == expected


def test_group_rows_says_how_much_is_left(inspected: Inspection, narrower: Inspection) -> None:
    rows = {row["group"]: row for row in group_rows(narrower, inspected)}
    parts = inspected.groups["fusion.f2x"].parts
    assert rows["fusion.f2x"]["before"] == "+".join(map(str, parts))
    assert rows["fusion.f2x"]["after"] == "1+1"
    assert rows["fusion.f2x"]["left"] == f"{2 / sum(parts):.1%}"
    assert rows["fusion.f2x"]["made by"] == "fusion.f2x.conv"
    assert rows["image"]["adaptive rule"] == "never"


def test_group_rows_shows_where_a_layer_reads_a_group(inspected: Inspection) -> None:
    row = next(row for row in group_rows(inspected) if row["group"] == "detail.hr2x.3")
    offset, width = inspected.groups["fusion.lr4x"].channels, inspected.groups["detail.hr2x.3"].channels
    assert f"fusion.f2x.conv[{offset}:{offset + width}]" in row["read by"]


def test_total_rows_begin_with_the_whole(inspected: Inspection, narrower: Inspection) -> None:
    rows = total_rows(narrower, inspected)
    assert [row["layer"] for row in rows] == [
        f"**{name}**" for name in ("deployed graph", "backbone", "semantic", "detail", "fusion")
    ]
    assert rows[0]["parameters before"] == f"{inspected.total.parameters:,}"
    assert rows[0]["after"] == f"{narrower.total.parameters:,}"


def test_layer_rows_have_every_layer(inspected: Inspection, narrower: Inspection) -> None:
    assert [row["layer"] for row in layer_rows(narrower, inspected)] == list(inspected.layers)


def test_layer_rows_have_no_columns_of_before_when_there_is_one_network(inspected: Inspection) -> None:
    assert set(layer_rows(inspected)[0]) == {"layer", "parameters", "MMAC"}


def test_tensor_rows_show_the_shape_and_the_groups_of_every_tensor(
    network: MODNet, inspected: Inspection, narrower: Inspection
) -> None:
    rows = {row["tensor"]: row for row in tensor_rows(narrower, inspected)}
    assert list(rows) == list(network.state_dict())
    before, after = (one.shapes["fusion.f2x.conv.weight"] for one in (inspected, narrower))
    row = rows["fusion.f2x.conv.weight"]
    assert (row["shape before"], row["after"]) == ("×".join(map(str, before)), "×".join(map(str, after)))
    assert after[0] == 2
    assert {"fusion.f2x", "fusion.lr4x", "detail.hr2x.3"} <= set(row["groups"].split(", "))
    assert set(tensor_rows(inspected)[0]) == {"tensor", "shape", "groups"}


@pytest.mark.parametrize("is_comparison", [True, False], ids=["before and after", "alone"])
def test_channel_chart_is_a_png(is_comparison: bool, inspected: Inspection, narrower: Inspection) -> None:
    picture = channel_chart(narrower, inspected if is_comparison else None)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_channel_chart_draws_a_network_of_many_branches_in_rows() -> None:
    """Layers of a Sequential are numbered: a panel for each would hold one bar."""
    network = TracedNetwork(nn.Sequential(*(conv(width, 8) for width in (3, *[8] * 19))), (torch.zeros(1, 3, 16, 16),))
    inspected = inspect_network(network)
    assert inspected.size is None
    picture = cv2.imdecode(np.frombuffer(channel_chart(inspected), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] / picture.shape[1] == pytest.approx((1 + 3 * 3) / 14, abs=0.01)  # three rows
