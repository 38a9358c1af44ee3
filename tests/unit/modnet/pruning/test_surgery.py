"""The pruning law: removing channels is the same as multiplying them by zero where they are read."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modnet.configs import PruningConfig
from modnet.errors import PruningError
from modnet.models.modnet import MODNet
from modnet.pruning.plan import GroupPlan, PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.spec import ModnetSpec

UNUSED = PruningConfig()  # random plans below are made by hand; the config is only carried along


def random_network(seed: int) -> MODNet:
    """A tiny network in float64 in which no tensor has its initial constant value."""
    torch.manual_seed(seed)
    network = MODNet(ModnetSpec.tiny()).double()
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return network


def random_plan(network: MODNet, seed: int) -> PruningPlan:
    generator = torch.Generator().manual_seed(seed)
    plans = {}
    for group in network.channel_groups():
        if group.name == "image" or group.name.endswith("head"):
            continue
        kept, start = [], 0
        for part in group.parts:
            count = int(torch.randint(1, part + 1, (1,), generator=generator))
            kept += sorted(start + i for i in torch.randperm(part, generator=generator)[:count].tolist())
            start += part
        plans[group.name] = GroupPlan(parts=group.parts, kept=tuple(kept))
    return PruningPlan(config=UNUSED, groups=plans)


def masked(network: MODNet, plan: PruningPlan) -> MODNet:
    """The network at full width whose consumers multiply each removed channel by zero before they read it."""
    network = copy.deepcopy(network)
    for group in network.channel_groups():
        if group.name not in plan.groups:
            continue
        mask = torch.zeros(group.channels, dtype=torch.float64)
        mask[list(plan.groups[group.name].kept)] = 1
        for consumer in group.consumers:

            def multiply(module, inputs, mask=mask, offset=consumer.offset):
                (x,) = inputs
                factor = torch.ones(x.shape[1], dtype=x.dtype)
                factor[offset : offset + len(mask)] = mask
                return (x * (factor if x.dim() == 2 else factor[:, None, None]),)

            network.get_submodule(consumer.module).register_forward_pre_hook(multiply)
    return network


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20))
def test_apply_plan_equals_masked_network_when_plan_is_random(training: bool, seed: int) -> None:
    network = random_network(seed).train(training)
    plan = random_plan(network, seed)
    compact, reference = apply_plan(network, plan), masked(network, plan)
    assert compact.training is training
    image = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1

    for got, wanted in zip(compact(image), reference(image), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20))
def test_apply_plan_keeps_gradients_of_kept_channels_when_trained(seed: int) -> None:
    network = random_network(seed).train()
    plan = random_plan(network, seed)
    compact, reference = apply_plan(network, plan), masked(network, plan)
    image = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1
    for model in (compact, reference):
        sum(output.square().sum() for output in model(image)).backward()

    kept = list(plan.groups["backbone.stem"].kept)
    wanted = reference.backbone.stem.conv.weight.grad[kept]
    torch.testing.assert_close(compact.backbone.stem.conv.weight.grad, wanted, rtol=1e-8, atol=1e-10)


def test_apply_plan_returns_identical_network_when_settings_are_zero() -> None:
    network = random_network(0).eval()
    plan = plan_pruning(network, PruningConfig(backbone_threshold=0, global_ratio=0))
    compact = apply_plan(network, plan)
    assert compact.spec == network.spec
    for name, tensor in network.state_dict().items():
        assert torch.equal(compact.state_dict()[name], tensor), name


def test_apply_plan_raises_when_plan_is_for_another_network() -> None:
    plan = random_plan(random_network(0), 0)
    with pytest.raises(PruningError, match="another network"):
        apply_plan(MODNet(ModnetSpec.full()), plan)
