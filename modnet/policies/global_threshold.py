"""One threshold for the scores of the whole network."""

import math
from typing import Literal, Self

from pydantic import Field

from modnet.policies.cost import Cost
from modnet.policies.policy import AllowedWidths, Groups, GroupwisePolicy, ScoreLists, SteppedPolicy


class GlobalThresholdPolicy(GroupwisePolicy, SteppedPolicy):
    """The lowest scores of the whole network go, wherever they are (network slimming, arXiv 1708.06519)."""

    kind: Literal["global-threshold"] = Field("global-threshold", description="Names this policy.")
    share: float = Field(0.5, ge=0, lt=1, description="Share of all prunable channels removed.")
    floor: float = Field(0.1, gt=0, le=1, description="Share of its channels that every group keeps at least.")

    @property
    def label(self) -> str:
        return f"threshold {self.share:g}"

    def counts(self, groups: Groups, scores: ScoreLists, allowed: AllowedWidths) -> dict[str, int]:
        """Channels whose score reaches the threshold below which the share of all channels lies.

        Every group keeps its floor, so that no share can cut the network through.
        """
        above = self.asked(groups, scores)
        counts = {}
        for group in groups:
            count, least = above[group.name], allowed.from_floor(group, self.floor)[0]
            if max(count, least) < group.channels:
                counts[group.name] = max(allowed.rounded(count, group.channels), least)
        return counts

    def asked(self, groups: Groups, scores: ScoreLists) -> dict[str, int]:
        """Channels of each group whose score reaches the threshold; of some groups it may be none."""
        if not groups:
            return {}
        threshold = share_threshold(groups, scores, self.share)
        return {group.name: sum(score >= threshold for score in scores[group.name]) for group in groups}

    def on_the_way(self, step: int, steps: int, unpruned: Cost) -> Self:
        return self.model_copy(update={"share": self.share * (step / steps)})

    def of_step(self, step: int, steps: int, unpruned: Cost) -> Self:
        """Each step removes the same share of the channels that are left, and divides the floor likewise."""
        share = 1 - (1 - self.share) ** (1 / steps)
        return self.model_copy(update={"share": share, "floor": self.floor ** (1 / steps)})


def share_threshold(groups: Groups, scores: ScoreLists, share: float) -> float:
    """The score that the given share of all channels, the lowest, stay below."""
    everything = sorted(score for group in groups for score in scores[group.name])
    return everything[math.floor(len(everything) * share + 1e-9)]  # 0.29 * 100 is 28.999…
