"""What every pruning policy is: a config that decides how many channels of each group stay."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, Field

from modnet.config import Config
from modnet.policies.cost import Cost, CostModel, Widths

if TYPE_CHECKING:
    from modnet.network import ChannelGroup

Groups = Sequence["ChannelGroup"]

ScoreLists = Mapping[str, Sequence[float]]
"""Group name → the score of each channel, at least 0; the larger, the more it would cost to remove the channel."""

MeasureWidths = Callable[[Sequence[Widths]], tuple[float, Sequence[float]]]
"""Widths of several networks → median latencies in ms, taken in turns: the unpruned network's, and one of each."""


@dataclass(frozen=True)
class AllowedWidths:
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

    def from_floor(self, group: ChannelGroup, floor: float) -> list[int]:
        """The widths that `group` may get while it keeps the share `floor` of its channels, ascending; all last."""
        parts = sum(part > 0 for part in group.parts)
        least = max(self.minimum, parts, math.ceil(floor * group.channels - 1e-9))
        return [*range(self._up(least), group.channels, self.multiple), group.channels]

    def _up(self, count: int) -> int:
        return math.ceil(count / self.multiple) * self.multiple


@dataclass(frozen=True)
class Prunable:
    """What a policy decides about."""

    groups: Groups  # those that may lose channels
    scores: ScoreLists
    allowed: AllowedWidths  # which widths they may get
    cost_model: CostModel  # what the network costs at any widths
    measure: MeasureWidths | None = None  # how long it takes at any widths; None where nothing can be measured


class MeasuredLatency(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What the closing measurement of the latency policy found, medians in milliseconds.

    Attributes:
        ms: of the network that the plan leaves.
        unpruned_ms: of the unpruned one, run beside the others in every measurement; the closing one's is the last.
            They differ when the machine had other work meanwhile.
    """

    ms: float = Field(gt=0)
    unpruned_ms: tuple[float, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Decision:
    """How many channels stay."""

    counts: Mapping[str, int]  # group name → channels to keep; groups that it leaves out keep all
    # group name → channels that the policy alone would keep, without floor, minimum and multiple; empty where it speaks
    # of the whole network
    asked: Mapping[str, int] = field(default_factory=dict)
    latency: MeasuredLatency | None = None  # where the policy measured


class PruningPolicy(Config, ABC):
    """Base of all policies. Each has a field `kind`, which names it in files, forms and on the command line."""

    measures_latency: ClassVar[bool] = False  # whether it can only decide with `Prunable.measure`

    @property
    @abstractmethod
    def label(self) -> str:
        """Short name for tables and plots."""

    @property
    def limits(self) -> Mapping[str, float]:
        """The most that it lets `ms`, `parameters` or `macs` be; empty where it limits none."""
        return {}

    @abstractmethod
    def decide(self, prunable: Prunable) -> Decision:
        """How many channels of each group stay.

        Raises:
            PruningError: the network cannot be pruned so.
        """


class GroupwisePolicy(PruningPolicy):
    """Base of policies that look at groups and scores alone: not at cost or latency of the whole network."""

    @abstractmethod
    def counts(self, groups: Groups, scores: ScoreLists, allowed: AllowedWidths) -> dict[str, int]:
        """Group name → channels to keep; groups that it leaves out keep all."""

    def asked(self, groups: Groups, scores: ScoreLists) -> dict[str, int]:
        """Group name → channels to keep where every width is allowed."""
        counts = self.counts(groups, scores, AllowedWidths(multiple=1, minimum=1))
        return {group.name: counts.get(group.name, group.channels) for group in groups}

    def decide(self, prunable: Prunable) -> Decision:
        asked = self.asked(prunable.groups, prunable.scores)
        return Decision(self.counts(prunable.groups, prunable.scores, prunable.allowed), asked)


class SteppedPolicy(PruningPolicy):
    """Base of policies that a network can be brought to in several steps; these count from 1 to `steps`."""

    @abstractmethod
    def on_the_way(self, step: int, steps: int, unpruned: Cost) -> Self:
        """What the unpruned network is brought to at `step`, where every step starts from the unpruned network."""

    @abstractmethod
    def of_step(self, step: int, steps: int, unpruned: Cost) -> Self:
        """What `step` does where every step starts from the network that the step before it left, retrained."""


def ratio_count(channels: int, ratio: float) -> int:
    """floor((1 - ratio) · channels), at least 1: what is left when a share `ratio` in [0, 1) is removed."""
    # 1e-9 keeps a product like (1 - 0.9) * 10 = 0.9999… from losing a channel to binary fractions.
    return max(1, math.floor((1 - ratio) * channels + 1e-9))


def split_by_parts(count: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    """`count` shared out in proportion to `parts`, at least 1 of each that has any; the last takes what is left."""
    total = sum(parts)
    shares = [min(part, max(1, count * part // total)) for part in parts[:-1]]
    return (*shares, min(parts[-1], max(1, count - sum(shares))))
