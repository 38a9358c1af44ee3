"""How many channels stay. A policy turns a setting into counts; nothing else in the project reads a ratio.

Every policy takes what it needs and returns group name → channels to keep; groups that it leaves out keep all.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modnet.configs import AdaptivePolicy, GlobalThresholdPolicy, LayerRatiosPolicy, UniformPolicy
from modnet.errors import PruningError
from modnet.network import ChannelGroup
from modnet.pruning.criteria import Scores

GroupwisePolicy = AdaptivePolicy | UniformPolicy | LayerRatiosPolicy | GlobalThresholdPolicy
"""Those that look at groups and scores alone: not at what the whole network costs, nor at how long it takes."""


@dataclass(frozen=True)
class Limits:
    """Which widths a group may get: a multiple that devices compute well on, and not less than a minimum."""

    multiple: int
    minimum: int

    def rounded(self, count: int, channels: int) -> int:
        """`count` rounded to the nearest multiple, and up where that would lose more than a tenth.

        Not below the minimum, itself rounded up, and never above the `channels` that there are.
        """
        rounded = (count + self.multiple // 2) // self.multiple * self.multiple
        if rounded < 0.9 * count:
            rounded += self.multiple
        return min(channels, max(rounded, self._up(self.minimum)))

    def allowed(self, group: ChannelGroup, floor: float) -> list[int]:
        """The widths that `group` may get while it keeps the share `floor` of its channels, ascending; all last."""
        parts = sum(part > 0 for part in group.parts)
        least = max(self.minimum, parts, math.ceil(floor * group.channels - 1e-9))
        return [*range(self._up(least), group.channels, self.multiple), group.channels]

    def _up(self, count: int) -> int:
        return math.ceil(count / self.multiple) * self.multiple


def adaptive_counts(
    groups: Iterable[ChannelGroup], scores: Scores, policy: AdaptivePolicy, limits: Limits
) -> dict[str, int]:
    """The threshold or the ratio, as each group's rule says; a setting of 0 keeps every channel."""
    counts = {}
    for group in groups:
        if group.rule == "adaptive" and policy.backbone_threshold > 0:
            count = adaptive_count(scores[group.name], policy.backbone_threshold)
        elif group.rule == "ratio" and policy.global_ratio > 0:
            count = ratio_count(group.channels, policy.global_ratio)
        else:
            continue
        counts[group.name] = limits.rounded(count, group.channels)
    return counts


def uniform_counts(groups: Iterable[ChannelGroup], policy: UniformPolicy, limits: Limits) -> dict[str, int]:
    """One ratio for every group; 0 keeps every channel."""
    if policy.ratio == 0:
        return {}
    return {group.name: limits.rounded(ratio_count(group.channels, policy.ratio), group.channels) for group in groups}


def layer_ratio_counts(groups: Sequence[ChannelGroup], policy: LayerRatiosPolicy, limits: Limits) -> dict[str, int]:
    """A ratio for each group that a pattern names; where several do, the last.

    Raises:
        PruningError: a pattern names nothing.
    """
    counts = {}
    for entry in policy.ratios:
        for group in matching(groups, entry.pattern):
            count = ratio_count(group.channels, entry.ratio)
            counts[group.name] = group.channels if entry.ratio == 0 else limits.rounded(count, group.channels)
    return counts


def matching(groups: Sequence[ChannelGroup], pattern: str) -> list[ChannelGroup]:
    """The groups whose name, or one of whose producing layers, fits a shell pattern.

    Raises:
        PruningError: none does; names what comes nearest.
    """
    names = {group.name: (group.name, *(producer.module for producer in group.producers)) for group in groups}
    found = [group for group in groups if any(fnmatch.fnmatchcase(name, pattern) for name in names[group.name])]
    if not found:
        near = difflib.get_close_matches(pattern, [name for all_names in names.values() for name in all_names], n=3)
        wanted = f"; did you mean {' or '.join(near)}?" if near else "; `modnet inspect` lists the groups"
        raise PruningError(f"pattern {pattern!r} names no prunable group{wanted}")
    return found


def global_threshold_counts(
    groups: Sequence[ChannelGroup], scores: Scores, policy: GlobalThresholdPolicy, limits: Limits
) -> dict[str, int]:
    """Channels whose score reaches the threshold below which the share of all channels lies.

    Every group keeps its floor, so that no share can cut the network through.
    """
    above = counts_above_share(groups, scores, policy.share)
    counts = {}
    for group in groups:
        count, least = above[group.name], limits.allowed(group, policy.floor)[0]
        if max(count, least) < group.channels:
            counts[group.name] = max(limits.rounded(count, group.channels), least)
    return counts


def counts_above_share(groups: Sequence[ChannelGroup], scores: Scores, share: float) -> dict[str, int]:
    """Channels of each group whose score reaches the `share_threshold`; of some groups it may be none."""
    threshold = share_threshold(groups, scores, share)
    return {group.name: int((scores[group.name] >= threshold).sum()) for group in groups}


def share_threshold(groups: Sequence[ChannelGroup], scores: Scores, share: float) -> float:
    """The score that the given share of all channels, the lowest, stay below."""
    everything = torch.cat([scores[group.name] for group in groups]).sort().values
    return float(everything[math.floor(len(everything) * share + 1e-9)])  # 0.29 * 100 is 28.999…


def adaptive_count(scores: Tensor, threshold: float) -> int:
    """Channels whose score, scaled to [0, 1] within the group, reaches `threshold`.

    The number follows the spread of the scores: a layer in which few filters stand out loses more than one of equals.
    Equal scores say nothing about what could go, so all channels stay.
    """
    low, high = float(scores.min()), float(scores.max())
    if high == low:
        return len(scores)
    return int(((scores - low) / (high - low) >= threshold).sum())


def ratio_count(channels: int, ratio: float) -> int:
    """floor((1 - ratio) · channels), at least 1: what is left when a share `ratio` in [0, 1) is removed."""
    # 1e-9 keeps a product like (1 - 0.9) * 10 = 0.9999… from losing a channel to binary fractions.
    return max(1, math.floor((1 - ratio) * channels + 1e-9))


def split_by_parts(count: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    """`count` shared out in proportion to `parts`, at least 1 of each that has any; the last takes what is left."""
    total = sum(parts)
    shares = [min(part, max(1, count * part // total)) for part in parts[:-1]]
    return (*shares, min(parts[-1], max(1, count - sum(shares))))
