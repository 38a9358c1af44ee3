"""Parameters and multiply-accumulates of the deployed graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modnet.errors import ConfigError
from modnet.models.modnet import MODNet
from modnet.records import Complexity


def complexity(network: MODNet, size: int = 512) -> Complexity:
    """Cost of one `size` × `size` image on the deployed graph. See `layer_costs` for what counts."""
    costs = layer_costs(network, size)
    return Complexity(
        parameters=sum(parameters for parameters, _ in costs.values()),
        macs=sum(macs for _, macs in costs.values()),
        size=size,
    )


def layer_costs(network: MODNet, size: int = 512) -> dict[str, tuple[int, int]]:
    """Parameters and MACs of every module that the deployed graph runs, by its path, in order of running.

    MACs are those of convolutions and linear layers: 1 MAC is one multiplication and one addition, 2 FLOPs. Norms
    count with their parameters and no MACs; they are folded or cheap beside the convolutions.

    Raises:
        ConfigError: `size` is not a positive multiple of 32.
    """
    if size < 32 or size % 32:
        raise ConfigError(f"input size: got {size}, wanted a multiple of 32 from 32 up")
    # A copy without storage: shapes are all that is counted.
    with torch.device("meta"):
        shadow = MODNet(network.spec).eval()
    costs: dict[str, tuple[int, int]] = {}
    hooks = []

    def count(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            macs = 0
            if isinstance(module, nn.Conv2d):
                macs = module.weight[0].numel() * output[0].numel()
            elif isinstance(module, nn.Linear):
                macs = module.weight.numel()
            costs[path] = (sum(p.numel() for p in module.parameters(recurse=False)), macs)

        return hook

    for path, module in shadow.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            hooks.append(module.register_forward_hook(count(path)))
    with torch.inference_mode():
        shadow.matte_only()(torch.empty(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return costs
