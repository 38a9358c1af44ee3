"""What a pruning config means for one network: the channels that stay, group by group."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from modnet.configs import PruningConfig
from modnet.pruning import criteria, policies
from modnet.pruning.groups import ChannelGroup, PrunableNetwork


class GroupPlan(BaseModel):
    """The channels of one group that stay.

    Attributes:
        parts: channels of each part before pruning.
        kept: indices of the channels that stay, ascending, counted over all parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[int, ...]
    kept: tuple[int, ...]

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if list(self.kept) != sorted(set(self.kept)):
            raise ValueError("kept channels must be ascending and different")
        if self.kept and not 0 <= self.kept[0] <= self.kept[-1] < sum(self.parts):
            raise ValueError(f"kept channels {self.kept[0]}..{self.kept[-1]} are outside 0..{sum(self.parts) - 1}")
        if 0 in self.widths:
            raise ValueError(f"every part must keep a channel, got {self.widths} of {self.parts}")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each part after pruning."""
        ends = [sum(self.parts[: i + 1]) for i in range(len(self.parts))]
        return tuple(
            sum(end - part <= channel < end for channel in self.kept)
            for part, end in zip(self.parts, ends, strict=True)
        )


class PruningPlan(BaseModel):
    """Kept channels of every group of one network; replaying it gives the identical smaller network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: PruningConfig
    groups: dict[str, GroupPlan]


def plan_pruning(model: PrunableNetwork, config: PruningConfig) -> PruningPlan:
    """Decides which channels of `model` stay; the model itself is not touched.

    How many stay is the policy of the group; which ones is decided by score within each part of the group.
    """
    plans = {}
    for group in model.channel_groups():
        if group.policy == "keep":
            continue
        scores = criteria.l1(model, group)
        count = channels_to_keep(group, scores, config)
        widths = policies.split_by_parts(count, group.parts)
        plans[group.name] = GroupPlan(parts=group.parts, kept=_best_of_each_part(scores, group.parts, widths))
    return PruningPlan(config=config, groups=plans)


def channels_to_keep(group: ChannelGroup, scores: Tensor, config: PruningConfig) -> int:
    """The number of channels of `group` that stay under `config`; setting 0 keeps every channel."""
    setting = config.backbone_threshold if group.policy == "adaptive" else config.global_ratio
    if setting == 0:
        return group.channels
    if group.policy == "adaptive":
        count = policies.adaptive_count(scores, config.backbone_threshold)
    else:
        count = policies.ratio_count(group.channels, config.global_ratio)
    return policies.round_to_multiple(count, group.channels, config.channel_multiple, config.min_channels)


def _best_of_each_part(scores: Tensor, parts: tuple[int, ...], widths: tuple[int, ...]) -> tuple[int, ...]:
    kept: list[int] = []
    start = 0
    for part, width in zip(parts, widths, strict=True):
        # stable: of equal scores the first channel stays, on every machine
        order = scores[start : start + part].argsort(descending=True, stable=True)
        kept += sorted(start + int(i) for i in order[:width])
        start += part
    return tuple(kept)
