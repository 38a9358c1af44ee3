"""The pruning law on networks that declare no groups, whatever their wiring."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmarks.architectures import ARCHITECTURES, classifier, conv
from modnet.configs import PruningConfig, UniformPolicy
from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.pruning.complexity import complexity
from modnet.pruning.gates import gated
from modnet.pruning.law import require_law, with_random_weights
from modnet.pruning.plan import GroupPlan, PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.pruning.traced_network import TracedNetwork
from tests.unit.modnet.pruning.networks import masks, outputs

every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def traced(name: str, seed: int = 0) -> TracedNetwork:
    """A network with random weights in float64."""
    build, shape = ARCHITECTURES[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TracedNetwork(with_random_weights(build(), seed), (torch.randn(shape, dtype=torch.float64),))


def random_plan(network: PrunableNetwork, seed: int, least: int = 1) -> PruningPlan:
    """Any channels of every part, at least so many."""
    generator = torch.Generator().manual_seed(seed)
    groups = {}
    for group in network.channel_groups():
        kept, start = [], 0
        for part in group.parts if group.prunable else ():
            count = int(torch.randint(min(part, least), part + 1, (), generator=generator))
            kept += sorted(start + one for one in torch.randperm(part, generator=generator)[:count].tolist())
            start += part
        if kept:
            groups[group.name] = GroupPlan(parts=group.parts, kept=tuple(kept))
    return PruningPlan(groups=groups)


def images(network: TracedNetwork, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(network.example_inputs[0].shape, dtype=torch.float64, generator=generator)


def test_random_networks_have_no_constant_tensor() -> None:
    """One whose values were all equal would hide that they are taken from wrong places."""
    for name in ARCHITECTURES:
        for tensor_name, tensor in traced(name).state_dict().items():
            if tensor.dim() and tensor.numel() > 1:
                assert tensor.unique().numel() > 1, (name, tensor_name)


@every_architecture
@pytest.mark.parametrize("seed", range(5))
def test_apply_plan_equals_masked_network_when_groups_are_traced(name: str, seed: int) -> None:
    network = traced(name, seed)
    plan, x = random_plan(network, seed), images(network, seed)
    compact = apply_plan(network, plan)
    with torch.no_grad(), gated(network, masks(plan)):
        wanted = outputs(network, x)
    for got, one in zip(outputs(compact, x), wanted, strict=True):
        torch.testing.assert_close(got, one, rtol=1e-10, atol=1e-10 * float(one.abs().max()))
    removed = sum(int(mask.sum()) for mask in plan.removed().values())
    assert removed == 0 or complexity(compact).parameters < complexity(network).parameters


@every_architecture
def test_apply_plan_can_be_applied_to_what_it_has_made(name: str) -> None:
    """The smaller network is traced anew, and has the same groups with fewer channels.

    With one channel a grouped convolution would be a depthwise one, and a depthwise one a plain one.
    """
    network = traced(name)
    plan = random_plan(network, 1, least=2)
    compact = apply_plan(network, plan)
    widths = {group.name: group.parts for group in compact.channel_groups() if group.prunable}
    assert widths == {group: one.widths for group, one in plan.groups.items()}
    again = apply_plan(compact, random_plan(compact, 2))
    assert complexity(again).parameters <= complexity(compact).parameters


@every_architecture
def test_apply_plan_rebuilds_the_network_of_a_factory(name: str) -> None:
    network, (build, shape) = traced(name), ARCHITECTURES[name]
    question = PruningConfig(policy=UniformPolicy(ratio=0.4), channel_multiple=1, min_channels=1)
    plan = PruningPlan.from_json(plan_pruning(network, question).to_json())
    compact = apply_plan(network, plan)
    rebuilt = apply_plan(build(), plan)
    assert type(rebuilt) is type(network.module)
    rebuilt.double().load_state_dict(compact.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        for got, wanted in zip(outputs(rebuilt.eval(), x), outputs(compact, x), strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_apply_plan_compensates_traced_networks_for_what_norms_leave_behind() -> None:
    module = with_random_weights(classifier(conv(3, 8, 1), conv(8, 6, 1), channels=6), 3)
    network = TracedNetwork(module, (torch.zeros(2, 3, 16, 24, dtype=torch.float64),))
    plan = PruningPlan(groups={"0.0": GroupPlan(parts=(8,), kept=(0, 1, 2))})
    silent = copy.deepcopy(network)
    silent.module[0][1].weight.data[3:] = 0
    x = images(network, 0)
    with torch.no_grad():
        torch.testing.assert_close(apply_plan(network, plan, compensate=True)(x), silent(x), rtol=1e-9, atol=1e-9)


def test_traced_network_shares_its_layers_with_the_network_it_is_made_of() -> None:
    module = classifier(conv(3, 4), channels=4)
    network = TracedNetwork(module, (torch.zeros(1, 3, 8, 8),))
    assert list(network.state_dict()) == list(module.state_dict())
    network.train()
    assert module.training
    assert all(layer.training for layer in module.modules())
    network.double().eval()
    assert module[0][0].weight.dtype == torch.float64
    twin = copy.deepcopy(network)
    assert twin.module[0][0] is twin.get_submodule("0.0")
    assert twin.module[0][0] is not module[0][0]


class HardCoded(nn.Module):
    """Its forward knows a number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.first(x).reshape(x.shape[0], 8, -1)
        return self.last(rows.unsqueeze(-1))


def test_apply_plan_refuses_when_code_counts_on_a_number_of_channels() -> None:
    network = TracedNetwork(with_random_weights(HardCoded(), 0), (torch.zeros(1, 3, 8, 8, dtype=torch.float64),))
    with pytest.raises(PruningError, match=r"pruned network does not run.*number of channels that no attribute"):
        apply_plan(network, random_plan(network, 0))


class Ambiguous(nn.Module):
    """It cuts by the shape, and has an attribute of the same value by chance: the cut would follow the attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layers_count = 4
        self.first, self.left, self.right = conv(3, 8), conv(4, 5), conv(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        half = x.shape[1] // 2
        return self.left(x[:, :half]) + self.right(x[:, half:])


def test_apply_plan_refuses_when_channels_would_be_cut_elsewhere() -> None:
    network = TracedNetwork(with_random_weights(Ambiguous(), 0), (torch.zeros(1, 3, 8, 8, dtype=torch.float64),))
    names = [group.name for group in network.channel_groups()]
    assert names[:2] == ["first.0", "first.0:2"]
    plan = PruningPlan(groups={"first.0": GroupPlan(parts=(4,), kept=(0, 1))})
    with pytest.raises(PruningError, match="pruned network"):
        apply_plan(network, plan)


class InnerConstant(nn.Module):
    """Its code counts in fours: with half of every four gone, two fours of others are taken for one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 16), conv(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        fours = self.first(x).unflatten(1, (-1, 4))
        return self.last(fours.flip(2).flatten(1, 2))


def test_apply_plan_refuses_also_what_the_weights_of_today_would_hide() -> None:
    """A branch that starts with scales of zero, as residual ones often do, computes nothing yet."""
    network = TracedNetwork(InnerConstant().eval(), (torch.zeros(1, 3, 8, 8),))
    nn.init.zeros_(network.module.last[1].weight)
    plan = PruningPlan(groups={"first.0": GroupPlan(parts=(4,), kept=(0, 1))})
    with pytest.raises(PruningError, match="output 0 of the pruned network is not that of the masked one: it differs"):
        apply_plan(network, plan)


def test_require_law_refuses_a_network_whose_channels_stand_elsewhere() -> None:
    network = traced("tokens")
    moved = copy.deepcopy(network)
    weight = moved.get_submodule("2.0").weight
    weight.data = weight.data.flip(1)
    with pytest.raises(PruningError, match="output 0 of the pruned network is not that of the masked one: it differs"):
        require_law(network, {}, moved, network.example_inputs)


def test_apply_plan_refuses_a_plan_of_declared_groups_for_a_network_that_declares_none() -> None:
    with pytest.raises(PruningError, match="a network that declares its groups; a Sequential does not"):
        apply_plan(classifier(conv(3, 4), channels=4), PruningPlan(groups={}))
