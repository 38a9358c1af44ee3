"""A declaration that does not account for every channel is refused, with the tensor's name."""

from dataclasses import replace

import pytest
from torch import nn

from modnet.errors import PruningError
from modnet.models.modnet import MODNet
from modnet.pruning.groups import ChannelGroup, Member, tensor_slices
from modnet.spec import ModnetSpec


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
        ("semantic.lr8x", {"consumers": (Member("semantic.head"),)}, "detail.hr4x.0.conv.weight"),
        ("backbone.stem", {"norms": ()}, "backbone.stem.norm.weight"),
        ("detail.enc2x", {"consumers": (Member("detail.enc4x.conv", 1),)}, "detail.enc4x.conv.weight"),
        ("detail.enc2x", {"consumers": (Member("detail.enc4x.conv", 99),)}, "which has 16"),
        ("fusion.f2x", {"name": "detail.enc2x"}, "two channel groups are called 'detail.enc2x'"),
        ("fusion.f2x", {"producers": ("fusion.f9x.conv",)}, "'fusion.f9x.conv', which the network does not have"),
        ("fusion.f2x", {"producers": ("fusion.f2x",)}, "fusion.f2x is a ConvIBNormReLU"),
        ("fusion.f2x", {"norms": (Member("fusion.f2x.conv"),)}, "wanted BatchNorm2d"),
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
        tensor_slices(model, (ChannelGroup("a", (8,), producers=("0",)),))
