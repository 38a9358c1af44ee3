"""Groups found by tracing: those that networks declare, and those of networks that declare none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.architectures import ARCHITECTURES, conv
from modnet.errors import PruningError
from modnet.network import Carrier, ChannelGroup, Consumer, Producer
from modnet.pruning.grouping import grouping_of, groups_of
from modnet.workloads.classification.network import MobileNetV2, MobileNetV2Spec
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.pruning.networks import NETWORKS

Forward = Callable[[Any, Tensor], Tensor]


class Given(nn.Module):
    """A network of these layers, whose forward is a function."""

    def __init__(self, forward: Forward, **layers: nn.Module) -> None:
        super().__init__()
        self.compute = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


def without_words(group: ChannelGroup) -> tuple[Any, ...]:
    """All that a group says but its name and its rule, in no order."""
    members = (frozenset(members) for members in (group.producers, group.consumers, group.carriers))
    return (group.parts, group.prunable, *members)


def groups_by_name(network: nn.Module, *shape: int, keep_unknown: bool = False) -> dict[str, ChannelGroup]:
    found = groups_of(network, (torch.zeros(shape or (1, 3, 16, 24)),), keep_unknown=keep_unknown)
    return {group.name: group for group in found}


@pytest.mark.parametrize(
    "build",
    [
        *NETWORKS.values(),
        lambda: MODNet(ModnetSpec.full()),
        lambda: MobileNetV2(MobileNetV2Spec.full()),
    ],
    ids=[*NETWORKS, "modnet full", "mobilenet full"],
)
def test_groups_of_finds_what_a_network_declares(build: Callable[[], Any]) -> None:
    network = build()
    found = groups_of(network, (torch.zeros(1, 3, 64, 64),))
    assert {without_words(group) for group in found} == {without_words(group) for group in network.channel_groups()}
    assert len(found) == len(network.channel_groups())


def test_groups_of_leaves_the_network_as_it_was() -> None:
    network = ARCHITECTURES["split norm"].build().train()
    network[3].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    groups_of(network, (torch.randn(2, 3, 16, 16),))
    assert [module.training for module in network.modules()] == modes
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_groups_of_gives_concatenated_groups_their_offsets_and_their_norm() -> None:
    """DenseNet: a norm reads what several convolutions have made."""
    groups = groups_by_name(ARCHITECTURES["DenseNet"].build())
    first = groups["1.conv"]
    assert first.consumers == (Consumer("2.conv", 8), Consumer("3.0", 8))
    norm = [f"2.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    assert first.carriers == tuple(Carrier(name, 0, ((8,), (9,), (10,), (11,))) for name in norm)


def test_groups_of_puts_partners_of_residuals_gates_and_depthwise_layers_together() -> None:
    assert [one.module for one in groups_by_name(ARCHITECTURES["ResNet basic"].build())["2.body.1"].producers] == [
        "2.body.1", "2.skip",
    ]  # fmt: skip
    gated = groups_by_name(ARCHITECTURES["squeeze-excite"].build())["0.0"]
    assert [one.module for one in gated.producers] == ["0.0", "1.gate.3"]
    assert [one.module for one in gated.consumers] == ["1.gate.1", "2.0"]
    hidden = groups_by_name(ARCHITECTURES["inverted residual"].build())["1.0"]
    assert hidden.producers == (Producer("1.0", "1.1"), Producer("2.0", "2.1"))


def test_groups_of_couples_what_a_grouped_convolution_reads_and_makes() -> None:
    groups = groups_by_name(ARCHITECTURES["ResNeXt"].build())
    assert groups["1.body.1.0"].producers[0].places == ((0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11))
    assert groups["1.body.0.0"].consumers[0].places == ((0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11))


def test_groups_of_couples_the_channels_that_become_one_by_pixel_shuffle() -> None:
    group = groups_by_name(ARCHITECTURES["pixel shuffle"].build())["1"]
    assert group.parts == (6,)
    assert group.producers[0].places == tuple(tuple(range(4 * n, 4 * n + 4)) for n in range(6))


def test_groups_of_counts_every_pixel_of_a_channel_that_a_linear_layer_reads() -> None:
    group = groups_by_name(ARCHITECTURES["flattened pixels"].build())["0.0"]
    assert group.consumers[0].places == tuple(tuple(range(24 * n, 24 * n + 24)) for n in range(6))


def test_groups_of_makes_groups_of_pieces_that_go_different_ways() -> None:
    groups = groups_by_name(ARCHITECTURES["unequal split"].build())
    assert groups["1.both.0"].producers[0] == Producer("1.both.0", "1.both.1")
    assert groups["1.both.0:2"].producers[0].places == tuple((place,) for place in range(9, 14))
    assert [one.module for one in groups["1.both.0:2"].consumers] == ["1.reads_narrow.0"]


def test_grouping_of_says_which_attributes_count_channels() -> None:
    network = ARCHITECTURES["split norm"].build()
    sizes = grouping_of(network, (torch.zeros(1, 3, 16, 16),)).sizes
    assert sizes["1", "bnorm_channels"] == (("0", 0),)
    assert sizes["1.inorm", "num_features"] == (("0", 1),)
    assert sizes["0", "out_channels"] == (("0", 0), ("0", 1))
    # A linear layer behind means; pixels of a channel are counted one by one.
    sizes = grouping_of(ARCHITECTURES["flattened pixels"].build(), (torch.zeros(2, 3, 16, 24),)).sizes
    assert sizes["3", "in_features"] == (("0.0", 0),) * 24


class OneNumber(nn.Module):
    """One attribute cuts two tensors, and says nothing of the layer's own `num_features` beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.num_features = 3, 8
        self.left, self.right = conv(3, 8), conv(3, 8)
        self.last = conv(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        left = F.instance_norm(self.left(x)[:, : self.width])
        return self.last(torch.cat((left, self.right(x)[:, : self.width]), dim=1))


def test_grouping_of_couples_channels_that_one_attribute_counts() -> None:
    grouping = grouping_of(OneNumber(), (torch.zeros(1, 3, 16, 16),))
    group = grouping.groups[0]
    assert [one.module for one in group.producers] == ["left.0", "right.0"]
    assert group.parts == (3,)
    assert grouping.sizes["", "width"] == (("left.0", 0),)
    assert ("", "num_features") not in grouping.sizes


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (
            Given(lambda n, x: n.b(torch.softmax(n.a(x), dim=1)), a=conv(3, 4), b=conv(4, 3)),
            "divides by the sum of all channels",
        ),
        (Given(lambda n, x: n.b(n.a(x)[:, :3]), a=conv(3, 5), b=conv(3, 3)), "cuts 5 channels at a place"),
        (Given(lambda n, x: n.b(n.a(x)[:, ::2]), a=conv(3, 4), b=conv(2, 3)), "cuts 4 channels at a place"),
        (Given(lambda n, x: n.b(n.a(x).roll(1, 1)), a=conv(3, 4), b=conv(4, 3)), "counts on the places"),
        (Given(lambda n, x: n.b(n.a(x)), a=conv(3, 8), b=nn.GroupNorm(2, 8)), "takes the mean of 4 channels"),
        (
            Given(lambda n, x: n.b(n.a(x) * torch.arange(4.0).view(1, 4, 1, 1)), a=conv(3, 4), b=conv(4, 3)),
            "meets a constant of the network's code",
        ),
    ],
    ids=["softmax", "constant cut", "every second", "roll", "group norm", "constant"],
)
def test_grouping_of_keeps_what_would_compute_something_else(network: nn.Module, why: str) -> None:
    grouping = grouping_of(network, (torch.zeros(1, 3, 16, 16),))
    group = grouping.groups[0]
    assert (group.producers[0].module, group.prunable) == ("a.0", False)
    assert why in grouping.kept[group.name]


@pytest.mark.parametrize("spread", [lambda x: x.var(), lambda x: x.mean(dim=1, keepdim=True)], ids=["of all", "mean"])
def test_groups_of_takes_channels_that_are_brought_together_for_one(spread: Callable[[Tensor], Tensor]) -> None:
    network = Given(lambda n, x: n.b(n.a(x) / spread(n.a(x))), a=conv(3, 4), b=conv(4, 3))
    group = groups_by_name(network)["a.0"]
    assert group.channels == 1  # and a group keeps one
    assert group.producers[0].places == ((0, 1, 2, 3),)


def test_groups_of_keeps_a_gate_of_one_channel_and_not_what_it_multiplies() -> None:
    network = Given(lambda n, x: n.c(n.a(x) * torch.sigmoid(n.g(x))), a=conv(3, 4), g=conv(3, 1), c=conv(4, 2))
    groups = groups_by_name(network)
    assert groups["a.0"].prunable
    assert not groups["g.0"].prunable


def test_groups_of_keeps_layers_that_never_run() -> None:
    network = Given(lambda n, x: n.b(n.a(x)), a=conv(3, 4), b=conv(4, 3), never=conv(9, 7))
    groups = groups_by_name(network)
    assert [name for name, group in groups.items() if group.prunable] == ["a.0"]
    assert any(carrier.tensor == "never.0.weight" for group in groups.values() for carrier in group.carriers)


def written_into(network: Any, x: Tensor) -> Tensor:
    y = network.a(x).clone()
    y[:, :2] = network.b(x)
    return network.c(y)


def tied() -> nn.Module:
    layers = {"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 1)}
    network = Given(lambda n, x: n.c(n.b(n.a(n.s(x)))), s=conv(3, 4), c=conv(4, 2), **layers)
    network.b.weight = network.a.weight
    return network


UNKNOWN = {
    "operation": (
        lambda: Given(lambda n, x: n.b(torch.fft.fft2(n.a(x)).real), a=conv(3, 4), b=conv(4, 3)),
        r"aten.fft_fft2.default in the network itself is not followed",
    ),
    "module": (
        lambda: Given(lambda n, x: n.b(n.a(x.flatten(2))[0]), a=nn.LSTM(384, 8), b=nn.Linear(8, 2)),
        "aten.lstm.input in a is not followed",
    ),
    "write in place": (
        lambda: Given(written_into, a=conv(3, 4), b=conv(3, 2), c=conv(4, 3)),
        "aten.copy_.default in the network itself is not followed",
    ),
    "shared tensor": (tied, "a.weight and b.weight are one tensor in two layers"),
    "computed weight": (
        lambda: Given(
            lambda n, x: n.b(F.conv2d(x, n.a.weight - n.a.weight.mean())), a=nn.Conv2d(3, 4, 1), b=conv(4, 3)
        ),
        "aten.conv2d.default in the network itself is not followed",
    ),
}


@pytest.mark.parametrize(("build", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_groups_of_refuses_what_it_cannot_follow(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        groups_by_name(build())


@pytest.mark.parametrize(("build", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_grouping_of_keeps_what_it_cannot_follow_when_asked(build: Callable[[], nn.Module], message: str) -> None:
    grouping = grouping_of(build(), (torch.zeros(1, 3, 16, 24),), keep_unknown=True)
    touched = [group for group in grouping.groups if any(one.module.startswith("a") for one in group.producers)]
    assert not any(group.prunable for group in touched)
    assert any(message.partition(".default")[0] in why for why in grouping.kept.values())


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (Given(lambda n, x: n.a(x) if x.sum() > 0 else x, a=conv(3, 4)), (1, 3, 8, 8), "decision by the values"),
        (
            Given(lambda n, x: n.a(x), a=conv(3, 4)),
            (1, 4, 8, 8),
            r"inputs of \(1, 4, 8, 8\): RuntimeError: .* 3 channels",
        ),
        (Given(lambda n, x: n.missing(x)), (1, 3, 8, 8), "AttributeError"),
    ],
    ids=["control flow", "example of another shape", "broken code"],
)
def test_groups_of_refuses_what_cannot_be_traced(network: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        groups_by_name(network, *shape)
