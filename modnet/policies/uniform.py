"""One share for every group."""

from typing import Literal

from pydantic import Field

from modnet.policies.policy import AllowedWidths, Groups, GroupwisePolicy, ScoreLists, ratio_count


class UniformPolicy(GroupwisePolicy):
    """The same share of channels goes from every group (L1NormPruner of NNI with one sparsity)."""

    kind: Literal["uniform"] = Field("uniform", description="Names this policy.")
    ratio: float = Field(0.5, ge=0, lt=1, description="Share of channels removed from each group.")

    @property
    def label(self) -> str:
        return f"uniform {self.ratio:g}"

    def counts(self, groups: Groups, scores: ScoreLists, allowed: AllowedWidths) -> dict[str, int]:
        """One ratio for every group; 0 keeps every channel."""
        if self.ratio == 0:
            return {}
        left = {group: ratio_count(group.channels, self.ratio) for group in groups}
        return {group.name: allowed.rounded(count, group.channels) for group, count in left.items()}
