"""How much worse a network gets when one channel group alone loses channels.

A group is pruned by closing gates where its consumers read it (`gates.gated`), so nothing is rebuilt. An image runs
through the intact network once; then it is asked again for each group and ratio, and only what the gates change is
computed. One ratio after the other: as one batch they took longer, on a CPU.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from modnet.errors import ConfigError, PruningError
from modnet.network import ChannelGroup, PrunableNetwork
from modnet.policies.layer_ratios import matching
from modnet.policies.policy import ratio_count
from modnet.pruning.cost import cost_model
from modnet.pruning.criteria import Batch
from modnet.pruning.gates import gated
from modnet.pruning.plan import best_of_each_part
from modnet.pruning.replay import Replay

MeasureError = Callable[[PrunableNetwork, Batch], Tensor]
"""Network and batch → (B,): the error, or the score, of each image's prediction by the deployed graph."""


def analysed_groups(network: PrunableNetwork, exclude: Iterable[str] = ()) -> list[ChannelGroup]:
    """The prunable groups that the deployed graph runs, without those that the patterns name.

    What only training runs changes no error, so nothing could be said of it.

    Raises:
        PruningError: a pattern names nothing.
    """
    costs = cost_model(network, size=64)
    prunable = [group for group in network.channel_groups() if group.prunable]
    excluded = {group.name for pattern in exclude for group in matching(prunable, pattern)}
    return [group for group in prunable if costs.terms_of[group.name] and group.name not in excluded]


def closed_gates(group: ChannelGroup, scores: Tensor, ratios: Sequence[float]) -> Tensor:
    """Factors float32 (ratios, channels): 0 where a ratio removes the channel, 1 elsewhere.

    The channels of lowest score go, within each part of the group, and as many as `ratio_count` says.
    """
    factors = torch.zeros(len(ratios), group.channels)
    for row, ratio in zip(factors, ratios, strict=True):
        row[list(best_of_each_part(scores, group.parts, ratio_count(group.channels, ratio)))] = 1
    return factors


class RecordedImage:
    """One labelled image in the intact network, to be asked how it fares without some channels.

    Keeps all values of that run: some 400 MB for a MODNet and 384 × 256 pixels. `baseline` is the intact network's
    error.

    Args:
        network: in evaluation mode; it must not change while this object is used.
        batch: the image (1, 3, H, W) and what its prediction is compared with.

    Raises:
        ConfigError: the network is in training mode, where images influence each other, or the batch has several.
    """

    def __init__(self, network: PrunableNetwork, batch: Batch, metric: MeasureError) -> None:
        if network.training:
            raise ConfigError("sensitivity: the network is in training mode, wanted evaluation mode")
        if len(batch[0]) != 1:
            raise ConfigError(f"sensitivity: got a batch of {len(batch[0])} images, wanted one")
        self._network, self._batch, self._metric = network, batch, metric
        self._replay = Replay([*network.parameters(), *network.buffers(), *batch])
        with torch.no_grad(), self._replay.recording():
            self.baseline = float(metric(network, batch))

    def errors(self, group: str, factors: Tensor) -> list[float]:
        """The error with the group's channels multiplied by each row of `factors` (rows, channels).

        Raises:
            PruningError: an error is not finite.
        """
        errors = []
        for row in factors.to(self._batch[0]):
            with torch.no_grad(), gated(self._network, {group: row}), self._replay:
                errors.append(float(self._metric(self._network, self._batch)))
        if not all(map(math.isfinite, errors)):
            raise PruningError(f"sensitivity of group {group!r}: the errors are {errors}")
        return errors
