"""How important each channel is. One function per published criterion; each scores one layer's outputs.

`score_groups` brings those of a group together. `taylor` alone looks at images, and scores a group at once.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from modnet.configs import PruningConfig
from modnet.errors import PruningError
from modnet.network import ChannelGroup, Producer, PrunableNetwork
from modnet.pruning.gates import Removed, gated
from modnet.pruning.groups import out_axis

Scores = Mapping[str, Tensor]
"""Group name → float64 (channels,), at least 0; the larger, the more it would cost to remove the channel."""

Batch = Sequence[Tensor]  # images (B, 3, H, W) first, then whatever the loss compares with


def l1(model: nn.Module, producer: Producer) -> Tensor:
    """L1 norm of each filter, in units of the layer's mean (Li et al. 2017, arXiv 1608.08710).

    Else a depthwise filter of 9 weights would count for nothing beside an expand filter of 960.
    """
    return _by_mean(_filters(model, producer).abs().sum(dim=1))


def l2(model: nn.Module, producer: Producer) -> Tensor:
    """L2 norm of each filter, in units of the layer's mean (He et al. 2018, arXiv 1808.06866)."""
    return _by_mean(_filters(model, producer).square().sum(dim=1).sqrt())


def geometric_median(model: nn.Module, producer: Producer) -> Tensor:
    """Sum of each filter's distances to all others, in units of the layer's mean (He et al. 2019, arXiv 1811.00250).

    Filters near the geometric median can be replaced by the others, so the most central ones go first.
    """
    filters = _filters(model, producer)
    return _by_mean(torch.cdist(filters, filters).sum(dim=1))


def bn_scale(model: nn.Module, producer: Producer) -> Tensor:
    """|gamma| of the batch norm behind the layer (network slimming, Liu et al. 2017, arXiv 1708.06519).

    A channel without a learned scale (instance norm, no norm) is as if it had scale 1, and is told from the others by
    its filter's L1 norm in units of the mean.
    """
    scores = l1(model, producer)
    if producer.norm is not None:
        gamma = model.get_submodule(producer.norm).get_parameter("weight").detach().double().abs()
        scores[: len(gamma)] = gamma
    return scores


CRITERIA: Mapping[str, Callable[[nn.Module, Producer], Tensor]] = {
    "l1": l1,
    "l2": l2,
    "geometric_median": geometric_median,
    "bn_scale": bn_scale,
}

_AGGREGATES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda scores: scores.sum(dim=0),
    "mean": lambda scores: scores.mean(dim=0),
    "max": lambda scores: scores.amax(dim=0),
}


def score_groups(model: PrunableNetwork, config: PruningConfig) -> Scores:
    """Scores of every prunable group by the config's criterion, which must be one that looks at weights alone.

    Raises:
        PruningError: the criterion needs images; its scores come from `taylor`.
    """
    groups = [group for group in model.channel_groups() if group.prunable]
    if config.criterion == "random":
        return {group.name: _random(group, config.seed) for group in groups}
    if config.criterion not in CRITERIA:
        raise PruningError(f"criterion {config.criterion!r} looks at images, and none were given")
    score, aggregate = CRITERIA[config.criterion], _AGGREGATES[config.aggregate]
    return {group.name: aggregate(_of_channels(model, group, score)) for group in groups}


def taylor(
    model: PrunableNetwork,
    batches: Iterable[Batch],
    loss: Callable[[PrunableNetwork, Batch], Tensor],
    removed: Removed | None = None,
) -> Scores:
    """First-order estimate of how much the loss of an image changes when a channel goes, squared and averaged.

    A gate of 1 stands where the group's consumers read it, so that removing the channel is closing the gate:
    (dL/dgate)² (Molchanov et al. 2019, arXiv 1906.10771). Channels that the loss does not depend on score 0.

    Args:
        model: in evaluation mode, where images do not influence each other.
        batches: at least one.
        loss: what is to change little: model and batch → (B,), one loss per image.
        removed: channels whose gates are closed already; they score 0.

    Raises:
        PruningError: no batches, or a loss that is not finite.
    """
    groups = [group for group in model.channel_groups() if group.prunable]
    is_open = {group.name: torch.ones(group.channels, dtype=torch.bool) for group in groups}
    is_open |= {name: ~closed for name, closed in (removed or {}).items()}
    sums = {group.name: torch.zeros(group.channels, dtype=torch.float64) for group in groups}
    images = 0
    parameter = next(model.parameters())
    for batch in batches:
        # a row of gates for each image: signs of different images must not cancel
        gates = {
            group.name: is_open[group.name].to(parameter).repeat(len(batch[0]), 1).requires_grad_() for group in groups
        }
        with gated(model, gates):
            losses = loss(model, batch)
        if not losses.isfinite().all():
            raise PruningError(f"Taylor scores: the loss of image {images} and following is {losses.tolist()}")
        changes = torch.autograd.grad(losses.sum(), list(gates.values()), allow_unused=True)
        for name, change in zip(gates, changes, strict=True):
            if change is not None:
                sums[name] += change.square().sum(dim=0).double().cpu()
        images += len(losses)
    if not images:
        raise PruningError("Taylor scores: no images given")
    return {name: total / images * is_open[name] for name, total in sums.items()}


def _of_channels(
    model: nn.Module, group: ChannelGroup, score: Callable[[nn.Module, Producer], Tensor]
) -> Tensor:  # float64 (everything that makes a channel, channels)
    rows = []
    for producer in group.producers:
        outputs = score(model, producer)
        if producer.places is None:
            rows.append(outputs[: group.channels])
        else:
            rows += outputs[torch.tensor(producer.places)].T.unbind()
    return torch.stack(rows)


def _filters(model: nn.Module, producer: Producer) -> Tensor:  # float64 (outputs, weights of one)
    layer = model.get_submodule(producer.module)
    filters = layer.get_parameter("weight").detach().double().movedim(out_axis(layer), 0).flatten(start_dim=1)
    # The groups of a transposed convolution share the axis of outputs.
    return filters.repeat(layer.groups, 1) if isinstance(layer, _ConvTransposeNd) else filters


def _by_mean(norms: Tensor) -> Tensor:
    mean = norms.mean()
    return norms / mean if mean > 0 else norms


def _random(group: ChannelGroup, seed: int) -> Tensor:
    """Scores that depend on seed and group alone; the baseline that every criterion must beat."""
    digest = hashlib.sha256(f"{seed} {group.name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.rand(group.channels, dtype=torch.float64, generator=generator)
