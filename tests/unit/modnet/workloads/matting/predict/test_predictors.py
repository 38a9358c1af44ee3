"""A network is a function of pixels, and of images under a protocol; it does not follow the original's training."""

import numpy as np
import pytest
import torch

from modnet.data.images import Image
from modnet.graph_function import TorchGraph, image_of, pixels_of
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.predict.predictors import Predictor, TorchPredictor
from tests.unit.modnet.random_network import random_network


@pytest.fixture
def image() -> Image:
    """A portrait-shaped gradient with noise, (70, 50, 3)."""
    ramp = np.linspace(0, 200, 70)[:, None, None] + np.random.default_rng(0).uniform(0, 55, (70, 50, 3))
    return ramp.astype(np.uint8)


@pytest.fixture
def network() -> MODNet:
    """A tiny network that the test may change."""
    return random_network(ModnetSpec.tiny(), 0)


def test_predictor_gives_back_each_pixel_when_network_copies_a_channel(image: Image) -> None:
    predictor = Predictor(lambda pixels: (pixels[:, :1] + 1) / 2, "device-512")
    np.testing.assert_allclose(predictor(image), image[..., 0] / 255, rtol=0, atol=0.06)  # scaled up and back


def test_torch_predictor_keeps_predicting_the_same_when_network_is_trained_on(network: MODNet, image: Image) -> None:
    network.train()
    predictor = TorchPredictor(network, "device-512")
    before = predictor(image)
    assert network.training
    with torch.no_grad():
        network.fusion.head.bias.fill_(5.0)
    np.testing.assert_array_equal(predictor(image), before)


def test_torch_matte_reads_arrays_that_are_read_only(network: MODNet) -> None:
    pixels = np.zeros((1, 3, 64, 64), dtype=np.float32)
    pixels.flags.writeable = False
    assert TorchGraph(network)(pixels).shape == (1, 1, 64, 64)


def test_pixels_become_the_image_that_they_are_of(image: Image) -> None:
    np.testing.assert_array_equal(image_of(pixels_of(image[None])), image[None])
