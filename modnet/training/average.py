"""A running average of weights, which evaluates better than the last step's."""

import copy
from typing import Generic

import torch

from modnet.network import Network


class WeightAverage(Generic[Network]):
    """Exponential moving average of a network's weights and running statistics (Polyak and Juditsky 1992).

    After `n` updates the decay is at most (1 + n) / (10 + n), so that the first steps of a short run do not keep the
    weights that it started from. `network` is the averaged one, in evaluation mode.
    """

    def __init__(self, network: Network, decay: float) -> None:
        """Starts at the weights of `network`; with a decay of 0 it stays equal to them."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Takes in the weights after step `step`, counted from 0."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], weight)
            else:
                average.copy_(current[name])
