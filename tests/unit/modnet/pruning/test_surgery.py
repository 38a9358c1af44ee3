"""The pruning law: removing channels is the same as multiplying them by zero where they are read."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modnet.configs import PruningConfig, UniformPolicy
from modnet.errors import PruningError
from modnet.network import PrunableNetwork
from modnet.pruning.gates import gated
from modnet.pruning.plan import GroupPlan, PruningPlan, plan_pruning
from modnet.pruning.surgery import apply_plan
from tests.unit.modnet.pruning.networks import (
    NETWORKS,
    EncoderDecoder,
    masks,
    outputs,
    random_images,
    random_network,
    random_plan,
)

CASES = settings(max_examples=15, deadline=None, derandomize=True)
"""For each row of each table below; `pytest --hypothesis-show-statistics` counts them."""

seeds = st.integers(0, 2**20)
every_network = pytest.mark.parametrize("kind", NETWORKS)
both_modes = pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])


def positions(network: PrunableNetwork, plan: PruningPlan) -> dict[str, Tensor]:
    """State-dict name → for each value of the compact network its flat position in the original's tensor.

    Surgery itself says so: it is done on a network whose every value is its position.
    """
    numbered = network.resized({})
    numbers = {
        name: torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
        for name, tensor in numbered.state_dict().items()
    }
    numbered.load_state_dict(numbers, assign=True)
    return {name: tensor.long() for name, tensor in apply_plan(numbered, plan).state_dict().items()}


def gradients(network: PrunableNetwork, images: Tensor) -> dict[str, Tensor]:
    """Of a sum of all output values, each with a random factor that is the same in every call."""
    generator = torch.Generator().manual_seed(0)
    values = outputs(network, images)
    factors = [torch.randn(value.shape, dtype=value.dtype, generator=generator) for value in values]
    sum((value * factor).sum() for value, factor in zip(values, factors, strict=True)).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def gradients_of_both(network: PrunableNetwork, plan: PruningPlan, images: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """Every parameter's name, its gradient in the compact network, and in the masked one at the kept positions."""
    compact, kept = apply_plan(network, plan), positions(network, plan)
    with gated(network, masks(plan, images.dtype)):
        wanted = gradients(network, images)
    got = gradients(compact, images)
    assert got.keys() == wanted.keys()
    return [(name, got[name], wanted[name].flatten()[kept[name]]) for name in got]


@every_network
def test_random_network_has_no_constant_tensor(kind: str) -> None:
    network = random_network(kind, 0)
    tensors = {name: tensor for name, tensor in network.state_dict().items() if tensor.numel() > 1}
    assert [name for name, tensor in tensors.items() if tensor.unique().numel() == 1] == []


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
@both_modes
@every_network
@CASES
@given(seed=seeds)
def test_apply_plan_equals_masked_network_when_plan_is_random(
    kind: str, training: bool, dtype: torch.dtype, tolerance: float, seed: int
) -> None:
    network = random_network(kind, seed, dtype).train(training)
    plan, images = random_plan(network, seed), random_images(seed, dtype)
    compact = apply_plan(network, plan)
    assert compact.training is training
    with torch.no_grad():
        got = outputs(compact, images)
        with gated(network, masks(plan, dtype)):
            reference = outputs(network, images)
    assert len(got) == len(reference)
    for one, wanted in zip(got, reference, strict=True):
        torch.testing.assert_close(one, wanted, rtol=0, atol=tolerance)


@both_modes
@every_network
@CASES
@given(seed=seeds)
def test_apply_plan_keeps_the_gradient_of_every_kept_weight(kind: str, training: bool, seed: int) -> None:
    network = random_network(kind, seed).train(training)
    for name, got, wanted in gradients_of_both(network, random_plan(network, seed), random_images(seed)):
        assert (got - wanted).abs().max() <= 1e-10 * max(1, wanted.abs().max()), name


@both_modes
@every_network
def test_apply_plan_keeps_gradients_when_float32(kind: str, training: bool) -> None:
    """As one vector per network, to 1e-5 of its length.

    Two networks of fifteen may exceed it: a ReLU whose input is zero but for rounding is open in one network and
    closed in the other.
    """
    distances = []
    for seed in range(15):
        network = random_network(kind, seed, torch.float32).train(training)
        pairs = gradients_of_both(network, random_plan(network, seed), random_images(seed, torch.float32))
        got, wanted = (torch.cat([pair[i].flatten() for pair in pairs]) for i in (1, 2))
        distances.append(float((got - wanted).norm() / wanted.norm()))
    assert sorted(distances)[-3] <= 1e-5
    assert max(distances) <= 0.03


@every_network
@CASES
@given(seed=seeds)
def test_apply_plan_keeps_running_statistics_of_kept_channels_when_trained(kind: str, seed: int) -> None:
    network = random_network(kind, seed).train()
    plan, images = random_plan(network, seed), random_images(seed)
    compact, kept = apply_plan(network, plan), positions(network, plan)
    outputs(compact, images)
    with gated(network, masks(plan)):
        outputs(network, images)
    wanted = dict(network.named_buffers())
    for name, got in compact.named_buffers():
        torch.testing.assert_close(got, wanted[name].flatten()[kept[name]], rtol=0, atol=1e-10)


@every_network
@settings(CASES, max_examples=5)
@given(seed=seeds)
def test_apply_plan_returns_identical_network_when_ratio_is_zero(kind: str, seed: int) -> None:
    network = random_network(kind, seed)
    compact = apply_plan(network, plan_pruning(network, PruningConfig(policy=UniformPolicy(ratio=0))))
    assert compact.state_dict().keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(compact.state_dict()[name], tensor), name


@every_network
@CASES
@given(seed=seeds)
def test_apply_plan_of_two_plans_in_turn_equals_both_masks(kind: str, seed: int) -> None:
    """What is pruned may be pruned again, down to layers of a single channel."""
    network = random_network(kind, seed).eval()
    first, images = random_plan(network, seed), random_images(seed)
    halfway = apply_plan(network, first)
    second = random_plan(halfway, seed + 1)
    twice = apply_plan(halfway, second)
    with torch.no_grad(), gated(halfway, masks(second)):
        reference = outputs(halfway, images)
    for got, wanted in zip(outputs(twice, images), reference, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


def test_apply_plan_leaves_the_original_alone() -> None:
    network = random_network("encoder-decoder", 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compact = apply_plan(network, random_plan(network, 0), compensate=True)
    for parameter in compact.parameters():
        nn.init.zeros_(parameter)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_apply_plan_raises_when_widths_are_of_another_network() -> None:
    plan = random_plan(EncoderDecoder(), 0)
    with pytest.raises(PruningError, match=r"for another network: group '\w+' has \(\d+,\) there, \(20,\) here"):
        apply_plan(EncoderDecoder(dict.fromkeys(EncoderDecoder.FULL, 20)), plan)


def test_apply_plan_raises_when_groups_are_of_another_network() -> None:
    with pytest.raises(PruningError, match="another network: group 'backbone"):
        apply_plan(EncoderDecoder(), random_plan(random_network("mobilenet", 0), 0))


def test_apply_plan_raises_when_weights_are_of_another_network() -> None:
    network = random_network("encoder-decoder", 0)
    plan = plan_pruning(network, PruningConfig())
    with torch.no_grad():
        network.head.bias[0] += 1e-9
    with pytest.raises(PruningError, match="another network of these widths: its weights have SHA-256"):
        apply_plan(network, plan)


def test_apply_plan_raises_when_plan_removes_what_the_outside_world_decides() -> None:
    plan = PruningPlan(groups={"image": GroupPlan(parts=(3,), kept=(0, 1))})
    with pytest.raises(PruningError, match="'image', which the outside world decides"):
        apply_plan(EncoderDecoder(), plan)
