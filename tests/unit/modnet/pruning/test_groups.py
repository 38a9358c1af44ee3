"""A declaration that does not account for every channel is refused, with the tensor's name."""

from dataclasses import replace

import pytest
from torch import nn

from modnet.errors import PruningError
from modnet.network import ChannelGroup, Consumer, Producer
from modnet.pruning.groups import tensor_slices
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.fixture(scope="module")
def network() -> MODNet:
    return MODNet(ModnetSpec.tiny())


def changed(network: MODNet, group_name: str, changes: dict) -> tuple[ChannelGroup, ...]:
    return tuple(replace(group, **changes) if group.name == group_name else group for group in network.channel_groups())


@pytest.mark.parametrize("spec", [ModnetSpec.tiny(), ModnetSpec.full()], ids=["tiny", "full"])
def test_tensor_slices_cover_every_channel_of_modnet(spec: ModnetSpec) -> None:
    network = MODNet(spec)
    held = {piece.tensor for piece in tensor_slices(network, network.channel_groups())}
    assert held == {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("semantic.lr8x", {"consumers": (Consumer("semantic.head"),)}, "detail.hr4x.0.conv.weight"),
        ("semantic.lr16x", {"producers": (Producer("semantic.lr16x.conv"),)}, "semantic.lr16x.norm.batch.weight"),
        ("detail.enc2x", {"consumers": (Consumer("detail.enc4x.conv", 1),)}, "detail.enc4x.conv.weight"),
        ("detail.enc2x", {"consumers": (Consumer("detail.enc4x.conv", 99),)}, "which has 16"),
        ("fusion.f2x", {"name": "detail.enc2x"}, "two channel groups are called 'detail.enc2x'"),
        (
            "fusion.f2x",
            {"producers": (Producer("fusion.f9x.conv"),)},
            "'fusion.f9x.conv', which the network does not have",
        ),
        ("fusion.f2x", {"producers": (Producer("fusion.f2x"),)}, "fusion.f2x is a ConvIBNormReLU"),
        ("fusion.f2x", {"producers": (Producer("fusion.f2x.conv", "fusion.f2x.conv"),)}, "wanted BatchNorm2d"),
        (
            "fusion.f2x",
            {"producers": (Producer("fusion.f2x.conv", "fusion.f9x.norm"),)},
            "'fusion.f9x.norm', which the network does not have",
        ),
        (
            "fusion.f2x",
            {"parts": (3, 5)},
            r"fusion.f2x.norm.batch holds 4 channels, which is not where a part ends \[3, 8\]",
        ),
        (
            "fusion.f2x",
            {"producers": (Producer("fusion.f2x.conv", "backbone.last.norm"),)},
            "backbone.last.norm holds 32 channels, which is not where a part ends",
        ),
        (
            "fusion.f2x",
            {"producers": (Producer("fusion.f2x.conv", "fusion.lr4x.norm.batch"),)},
            "fusion.lr4x.norm.batch.weight: channel 0 of axis 0 .* belongs to 2 groups",
        ),
        ("image", {"consumers": ()}, "backbone.stem.conv.weight: channel 0 of axis 1 .* belongs to 0 groups"),
        ("fusion.head", {"parts": (2,)}, "holds 0..1 of axis 0 of fusion.head.weight, which has 1"),
        ("detail.enc2x", {"consumers": (Consumer("detail.enc4x.conv", -1),)}, "holds -1.."),
        ("backbone.stem", {"producers": (Producer("backbone.stem.conv"),)}, "backbone.stem.norm.weight"),
    ],
    ids=[
        "consumer left out",
        "norm left out",
        "shifted",
        "beyond the end",
        "twice",
        "no module",
        "no layer",
        "no norm",
        "no such norm",
        "norm ends within a part",
        "norm wider than the group",
        "norm of another group",
        "image left out",
        "wider than the tensor",
        "before the start",
        "one norm of a group left out",
    ],
)
def test_tensor_slices_raises_when_declaration_is_wrong(
    network: MODNet, name: str, changes: dict, message: str
) -> None:
    with pytest.raises(PruningError, match=message):
        tensor_slices(network, changed(network, name, changes))


def test_tensor_slices_raises_when_convolution_has_groups() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(PruningError, match="0 has 2 groups of channels"):
        tensor_slices(model, (ChannelGroup("a", (8,), producers=(Producer("0"),)),))


def test_tensor_slices_raises_when_depthwise_weight_is_read_by_a_group() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False))
    group = ChannelGroup("a", (4,), producers=(Producer("0"),), consumers=(Consumer("0"),))
    with pytest.raises(PruningError, match="holds axis 1 of 0.weight, which has no channels"):
        tensor_slices(model, (group,))


@pytest.mark.parametrize("reads", [True, False], ids=["plain", "depthwise"])
def test_tensor_slices_takes_convolution_of_one_channel_for_either_kind(reads: bool) -> None:
    """Nobody can tell them apart, and neither can lose a channel."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False))
    before = ChannelGroup("before", (1,), consumers=(Consumer("0"),) if reads else ())
    slices = tensor_slices(model, (before, ChannelGroup("after", (1,), producers=(Producer("0"),))))
    assert [piece.axis for piece in slices] == ([1, 0] if reads else [0])


def test_tensor_slices_holds_first_channels_of_a_group_when_its_norm_is_narrower(network: MODNet) -> None:
    """IBNorm: the batch norm has the first half, the instance norm after it no tensors."""
    pieces = {piece.tensor: piece for piece in tensor_slices(network, network.channel_groups())}
    norm, conv = pieces["detail.hr4x.0.norm.batch.running_var"], pieces["detail.hr4x.0.conv.bias"]
    assert list(norm.positions) == list(norm.channels) == list(range(8))
    assert list(conv.positions) == list(conv.channels) == list(range(16))
