"""A network for tests that look at what it computes."""

import torch

from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


def random_network(spec: ModnetSpec, seed: int = 0) -> MODNet:
    """A network in which no tensor has its initial constant value, in evaluation mode."""
    torch.manual_seed(seed)
    network = MODNet(spec)
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return network.eval()


@torch.no_grad()
def make_difference_of_equal_channels(network: MODNet, factor: float) -> None:
    """The matte becomes (`factor` + 1) · x - `factor` · x of one channel: lost where `factor` + 1 is rounded away."""
    features, head = network.fusion.head_features, network.fusion.head
    features.conv.weight[1], features.conv.bias[1] = features.conv.weight[0], features.conv.bias[0]
    for tensor in features.norm.batch.state_dict().values():
        if tensor.dim():
            tensor[1] = tensor[0]
    head.weight.zero_()
    head.weight[0, :2] = torch.tensor([factor + 1, -factor])[:, None, None]
