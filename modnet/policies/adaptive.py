"""MODNet-ModelCompression's rule, on groups."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from modnet.policies.policy import AllowedWidths, Groups, GroupwisePolicy, ScoreLists, ratio_count


class AdaptivePolicy(GroupwisePolicy):
    """MODNet-ModelCompression's rule on tied groups: a threshold in the backbone, a ratio in the branches."""

    kind: Literal["adaptive"] = Field("adaptive", description="Names this policy.")
    backbone_threshold: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Backbone threshold",
        description="Backbone and the layers right behind it: the score that a channel needs to stay, scaled to 0…1 "
        "within its group. 0 keeps all.",
    )
    global_ratio: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Global ratio",
        description="Branches at higher resolution: share of channels removed from each layer.",
    )

    @property
    def label(self) -> str:
        return f"{self.backbone_threshold:g}/{self.global_ratio:g}"

    def counts(self, groups: Groups, scores: ScoreLists, allowed: AllowedWidths) -> dict[str, int]:
        """The threshold or the ratio, as each group's `adaptive_rule` says; a setting of 0 keeps every channel."""
        counts = {}
        for group in groups:
            if group.adaptive_rule == "adaptive" and self.backbone_threshold > 0:
                count = adaptive_count(scores[group.name], self.backbone_threshold)
            elif group.adaptive_rule == "ratio" and self.global_ratio > 0:
                count = ratio_count(group.channels, self.global_ratio)
            else:
                continue
            counts[group.name] = allowed.rounded(count, group.channels)
        return counts


def adaptive_count(scores: Sequence[float], threshold: float) -> int:
    """Channels whose score, scaled to [0, 1] within the group, reaches `threshold`.

    The number follows the spread of the scores: a layer in which few filters stand out loses more than one of equals.
    Equal scores say nothing about what could go, so all channels stay.
    """
    low, high = min(scores), max(scores)
    if high == low:
        return len(scores)
    return sum((score - low) / (high - low) >= threshold for score in scores)
