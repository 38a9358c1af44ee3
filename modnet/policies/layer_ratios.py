"""A share for each group that is named."""

from __future__ import annotations

import difflib
import fnmatch
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from modnet.config import Config
from modnet.errors import PruningError
from modnet.policies.policy import AllowedWidths, Groups, GroupwisePolicy, ScoreLists, ratio_count

if TYPE_CHECKING:
    from modnet.network import ChannelGroup


class LayerRatio(Config):
    """How much goes from the groups that a pattern names."""

    pattern: str = Field(
        min_length=1, description="Name of a group or of a layer in it; * and ? stand for any characters."
    )
    ratio: float = Field(ge=0, lt=1, description="Share of channels removed, 0 to below 1.")


class LayerRatiosPolicy(GroupwisePolicy):
    """A ratio for each named group, all channels elsewhere (PaddleSlim's pruned_params and pruned_ratios)."""

    kind: Literal["layer-ratios"] = Field("layer-ratios", description="Names this policy.")
    ratios: tuple[LayerRatio, ...] = Field(min_length=1, description="Of several patterns that fit, the last counts.")

    @property
    def label(self) -> str:
        return f"{len(self.ratios)} layer ratios"

    def counts(self, groups: Groups, scores: ScoreLists, allowed: AllowedWidths) -> dict[str, int]:
        """A ratio for each group that a pattern names; where several do, the last.

        Raises:
            PruningError: a pattern names nothing.
        """
        counts = {}
        for entry in self.ratios:
            for group in matching(groups, entry.pattern):
                count = ratio_count(group.channels, entry.ratio)
                counts[group.name] = group.channels if entry.ratio == 0 else allowed.rounded(count, group.channels)
        return counts


def matching(groups: Groups, pattern: str) -> list[ChannelGroup]:
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
