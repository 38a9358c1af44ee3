"""Parameters and multiply-accumulates of the deployed graph."""

from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from modnet.errors import ConfigError
from modnet.network import PrunableNetwork
from modnet.policies.cost import Cost, summed
from modnet.records import Complexity

_RUN_AT = 64  # pixels


def complexity(network: PrunableNetwork, size: int = 512) -> Complexity:
    """Cost of one `size` × `size` image on the deployed graph. See `layer_costs` for what counts."""
    total = summed(layer_costs(network, size).values())
    return Complexity(parameters=total.parameters, macs=total.macs, size=size)


def layer_costs(network: PrunableNetwork, size: int = 512) -> dict[str, Cost]:
    """Parameters and MACs of every module that the deployed graph runs, by its path, in order of running.

    A network that has example inputs is counted on these, and `size` says nothing.

    MACs are those of convolutions and linear layers: 1 MAC is one multiplication and one addition, 2 FLOPs. Norms
    count with their parameters and no MACs; they are folded or cheap beside the convolutions.

    The graph runs once at 64 × 64 pixels. Every feature map's sides are the image's divided by a stride that 64 is a
    multiple of, so that the positions of a convolution grow with the area.

    Raises:
        ConfigError: `size` is not a positive multiple of 32.
    """
    if size < 32 or size % 32:
        raise ConfigError(f"input size: got {size}, wanted a multiple of 32 from 32 up")
    # A copy without values: shapes are all that is counted. Not on the meta device, whose first use in a process
    # imports for seconds.
    with torch.device("meta"):
        shadow = network.resized({})
    shadow = shadow.to_empty(device="cpu").eval()
    costs: dict[str, Cost] = {}

    inputs, scale = network.example_inputs, Fraction(1)
    if inputs is None:
        inputs = tuple(torch.zeros(1, one.channels, _RUN_AT, _RUN_AT) for one in network.inputs)
        scale = Fraction(size, _RUN_AT) ** 2

    def count(path: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        macs = costs[path].macs if path in costs else 0  # of a layer that runs more than once
        if isinstance(module, _ConvNd):
            positions = inputs[0][0] if module.transposed else output[0]
            macs += int(module.weight[0].numel() * positions.numel() * scale)
        elif isinstance(module, nn.Linear):
            macs += module.in_features * output[0].numel()
        costs[path] = Cost(sum(p.numel() for p in module.parameters(recurse=False)), macs)

    for path, module in shadow.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(partial(count, path))
    with torch.inference_mode():
        shadow.deployed()(*inputs)
    return costs
