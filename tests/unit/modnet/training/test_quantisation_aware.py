"""Quantisation-aware training makes rounding cost less, repeats, and leaves the given network alone."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from modnet.errors import ConfigError, TrainingDivergedError
from modnet.training.quantisation_aware import _rounding, train_quantisation_aware
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tests.unit.modnet.random_network import random_network


@pytest.fixture
def network() -> MODNet:
    """A tiny network whose batch norms differ from channel to channel."""
    return random_network(ModnetSpec.tiny()).train()


@pytest.fixture
def inputs() -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32) for _ in range(2)]


def rounding_error(network: MODNet, inputs: list[NDArray[np.float32]]) -> float:
    """Mean squared difference of alpha between a network in float and the same one rounded to 8 bits."""
    plain = copy.deepcopy(network).eval()
    rounded = copy.deepcopy(plain).deployed()
    with _rounding(rounded, inputs), torch.no_grad():
        losses = [F.mse_loss(rounded(pixels), plain.deployed()(pixels)) for pixels in map(torch.from_numpy, inputs)]
    return float(torch.stack(losses).mean())


def test_train_quantisation_aware_lowers_the_cost_of_rounding(
    network: MODNet, inputs: list[NDArray[np.float32]]
) -> None:
    before = copy.deepcopy(network.state_dict())
    trained = train_quantisation_aware(network, inputs, steps=30, learning_rate=3e-4)
    assert 0 < rounding_error(trained, inputs) < 0.8 * rounding_error(network, inputs)
    assert network.training
    assert trained.spec == network.spec
    assert trained.state_dict().keys() == before.keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        if "running" in name:
            assert torch.equal(trained.state_dict()[name], tensor), name


def test_train_quantisation_aware_gives_equal_weights_when_repeated(
    network: MODNet, inputs: list[NDArray[np.float32]]
) -> None:
    first, second, other = (train_quantisation_aware(network, inputs, steps=3, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("images", "steps"), [(0, 5), (1, 0)], ids=["no-images", "no-steps"])
def test_train_quantisation_aware_raises_when_there_is_nothing_to_do(
    network: MODNet, inputs: list[NDArray[np.float32]], images: int, steps: int
) -> None:
    with pytest.raises(ConfigError, match=f"got {images} images and {steps} steps"):
        train_quantisation_aware(network, inputs[:images], steps=steps)


def test_train_quantisation_aware_raises_when_weights_are_no_numbers(
    network: MODNet, inputs: list[NDArray[np.float32]]
) -> None:
    with torch.no_grad():
        network.fusion.head.bias.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="the loss is nan at step 0"):
        train_quantisation_aware(network, inputs, steps=2)
