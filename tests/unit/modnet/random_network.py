"""A network for tests that look at what it computes."""

import torch

from modnet.models.modnet import MODNet
from modnet.spec import ModnetSpec


def random_network(spec: ModnetSpec, seed: int = 0) -> MODNet:
    """A network in which no tensor has its initial constant value, in evaluation mode."""
    torch.manual_seed(seed)
    network = MODNet(spec)
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return network.eval()
