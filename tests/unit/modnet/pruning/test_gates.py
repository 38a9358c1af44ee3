"""Factors stand where consumers read, and nowhere else."""

import pytest
import torch
from torch import Tensor

from modnet.pruning.gates import gated
from tests.unit.modnet.pruning.networks import EncoderDecoder, random_images


@pytest.fixture
def network() -> EncoderDecoder:
    return EncoderDecoder().double().eval()


def input_of(network: EncoderDecoder, path: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    handle = network.get_submodule(path).register_forward_hook(lambda module, inputs, output: found.append(inputs[0]))
    with torch.no_grad():
        network(images)
    handle.remove()
    return found[0]


def test_gated_multiplies_one_group_of_a_concatenation(network: EncoderDecoder) -> None:
    images = random_images(0)
    with torch.no_grad():
        network.leave.norm.weight.zero_()  # or the trunk would depend on itself through its residual block
    plain = input_of(network, "fine", images)
    factors = torch.linspace(0, 1, 6, dtype=torch.float64)
    with gated(network, {"trunk": factors}):
        read = input_of(network, "fine", images)
    torch.testing.assert_close(read[:, 8:14], plain[:, 8:14] * factors[:, None, None], rtol=0, atol=0)
    torch.testing.assert_close(read[:, 14:], plain[:, 14:], rtol=0, atol=0)


def test_gated_takes_factors_for_each_image(network: EncoderDecoder) -> None:
    images = random_images(0)
    factors = torch.rand(2, 8, dtype=torch.float64)
    with torch.no_grad():
        with gated(network, {"deep": factors}):
            together = network(images)
        for image, own, wanted in zip(images, factors, together, strict=True):
            with gated(network, {"deep": own}):
                torch.testing.assert_close(network(image[None])[0], wanted, rtol=0, atol=1e-12)


def test_gated_is_over_when_the_block_raises(network: EncoderDecoder) -> None:
    images = random_images(0)
    with torch.no_grad():
        before = network(images)
        with pytest.raises(KeyboardInterrupt), gated(network, {"trunk": torch.zeros(6, dtype=torch.float64)}):
            raise KeyboardInterrupt
        assert torch.equal(network(images), before)
