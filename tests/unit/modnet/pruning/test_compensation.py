"""Consumers take up what removed channels would have given them, had their batch norms' scales become zero."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modnet.configs import PruningConfig, UniformPolicy
from modnet.network import PrunableNetwork
from modnet.pruning.compensation import compensation_for, silenced
from modnet.pruning.plan import GroupPlan, PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.pruning.networks import (
    NETWORKS,
    EncoderDecoder,
    random_images,
    random_network,
    random_plan,
)

CASES = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 2**20)

BATCH_NORMED = [  # groups of MODNet's branches whose first channel has a batch norm, and layers that read them directly
    ("semantic.lr16x", "semantic.lr8x.conv"),
    ("semantic.lr8x", "detail.hr4x.0.conv"),
    ("semantic.lr8x", "fusion.lr4x.conv"),
    ("detail.to_enc2x", "detail.enc2x.conv"),
    ("detail.hr4x.2", "detail.hr2x.0.conv"),
    ("fusion.lr4x", "fusion.f2x.conv"),
    ("detail.hr2x.3", "fusion.f2x.conv"),
    ("fusion.head_features", "fusion.head"),
]


def plan_without(network: PrunableNetwork, name: str, channels: Sequence[int]) -> PruningPlan:
    """Removes these channels of one group."""
    parts = {group.name: group.parts for group in network.channel_groups()}[name]
    kept = tuple(channel for channel in range(sum(parts)) if channel not in channels)
    return PruningPlan(groups={name: GroupPlan(parts=parts, kept=kept)})


def varied_modnet(seed: int) -> MODNet:
    """Full tiny widths, random weights in float64."""
    torch.manual_seed(seed)
    network = MODNet(ModnetSpec.tiny()).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.2, 1)
            module.running_mean.uniform_(-0.5, 0.5)
    return network


def output_of(network: nn.Module, path: str, images: Tensor) -> Tensor:
    """What the layer at `path` computes of the images."""
    found: list[Tensor] = []
    handle = network.get_submodule(path).register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad():
        network(images)
    handle.remove()
    return found[0]


@CASES
@given(seed=seeds)
def test_apply_plan_equals_silenced_classifier_when_compensating(seed: int) -> None:
    """Exactly, up to the borders: every consumer is a 1×1 convolution or linear."""
    network, images = random_network("mobilenet", seed).eval(), random_images(seed)
    plan = random_plan(network, seed)
    with torch.no_grad():
        got = apply_plan(network, plan, compensate=True)(images)
        wanted = silenced(network, plan.removed())(images)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


@CASES
@given(seed=seeds)
def test_apply_plan_equals_silenced_encoder_decoder_inside_when_compensating(seed: int) -> None:
    network, images = random_network("encoder-decoder", seed).eval(), random_images(seed)
    plan = random_plan(network, seed)
    inside = (
        ...,
        slice(EncoderDecoder.RADIUS, -EncoderDecoder.RADIUS),
        slice(EncoderDecoder.RADIUS, -EncoderDecoder.RADIUS),
    )
    with torch.no_grad():
        got = apply_plan(network, plan, compensate=True)(images)[inside]
        wanted = silenced(network, plan.removed())(images)[inside]
    assert got.numel()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("group", "reader"), BATCH_NORMED)
def test_apply_plan_gives_reader_what_silenced_channels_gave_when_compensating(group: str, reader: str) -> None:
    """Inside, to the last digit; without compensation the reader is off."""
    network = varied_modnet(0)
    images = torch.rand(1, 3, 128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plan = plan_without(network, group, [0])
    wanted = output_of(silenced(network, plan.removed()), reader, images)[..., 2:-2, 2:-2]
    got = output_of(apply_plan(network, plan, compensate=True), reader, images)[..., 2:-2, 2:-2]
    without = output_of(apply_plan(network, plan), reader, images)[..., 2:-2, 2:-2]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)
    assert (without - wanted).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("group", "channels"),
    [("detail.hr4x.0", [9, 12, 15]), ("semantic.squeeze", [1, 2]), ("backbone.last", [0, 5, 31])],
    ids=["instance-normed", "no norm", "gated"],
)
@pytest.mark.parametrize("seed", range(4))
def test_apply_plan_compensates_nothing_when_channels_follow_the_image(
    group: str, channels: Sequence[int], seed: int
) -> None:
    network = varied_modnet(seed)
    plan = plan_without(network, group, channels)
    plain, compensated = apply_plan(network, plan), apply_plan(network, plan, compensate=True)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(compensated.state_dict()[name], tensor), name


def test_apply_plan_compensates_nothing_when_gate_is_the_same_for_all_images() -> None:
    """A gate that random images leave shut may open for a photograph."""
    network = varied_modnet(0)
    with torch.no_grad():
        network.semantic.squeeze_excite.squeeze.weight.copy_(-network.semantic.squeeze_excite.squeeze.weight.abs())
    changes = compensation_for(network, plan_without(network, "backbone.last", [0, 5, 31]).removed())
    assert all(not change.any() for change in changes.values())


@pytest.mark.parametrize("kind", NETWORKS)
def test_apply_plan_is_identity_when_compensating_for_nothing(kind: str) -> None:
    network = random_network(kind, 3)
    plan = plan_pruning(network, PruningConfig(policy=UniformPolicy(ratio=0)))
    compact = apply_plan(network, plan, compensate=True)
    for name, tensor in network.state_dict().items():
        assert torch.equal(compact.state_dict()[name], tensor), name


def test_compensation_is_beta_times_weights_when_worked_out_by_hand() -> None:
    """ReLU6(beta) of a removed channel, times the sum of the 3×3 weights that read it, where the reader has a norm."""
    network = EncoderDecoder().double().eval()
    with torch.no_grad():
        network.enter.norm.bias[0] = 0.75
    ((name, change),) = compensation_for(network, plan_without(network, "inner", [0]).removed()).items()
    assert name == "leave.norm.running_mean"
    wanted = -0.75 * network.leave.conv.weight[:, 0].sum(dim=(1, 2))
    torch.testing.assert_close(change, wanted, rtol=0, atol=1e-12)


def test_silenced_channel_is_constant() -> None:
    network = EncoderDecoder().double().eval()
    plan = plan_without(network, "trunk", [1])
    images = random_images(0)
    trunk = output_of(silenced(network, plan.removed()), "stem.norm", images)
    assert trunk[:, 1].unique().tolist() == [network.stem.norm.bias[1].item()]
    assert trunk[:, 0].unique().numel() > 1
