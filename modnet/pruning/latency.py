"""The largest network that is fast enough, found by measuring some."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modnet.errors import PruningError
from modnet.pruning.cost import CostModel
from modnet.pruning.criteria import Scores
from modnet.pruning.groups import ChannelGroup, PrunableNetwork
from modnet.pruning.policies import Limits, split_by_parts
from modnet.pruning.targets import target_counts

MeasureLatency = Callable[[Sequence[PrunableNetwork]], Sequence[float]]
"""Networks → their median latencies in milliseconds, measured interleaved, in any state of their weights."""

TOLERANCE = 0.05
_ROUNDS, _PER_ROUND = 4, 4


def latency_counts(
    model: PrunableNetwork,
    groups: Sequence[ChannelGroup],
    scores: Scores,
    limits: Limits,
    cost_model: CostModel,
    measure: MeasureLatency,
    *,
    max_ms: float,
    floor: float,
) -> dict[str, int]:
    """Channels to keep so that the network takes at most `max_ms`, and no less than 5 % under it where one does.

    Networks at several budgets of MACs are measured interleaved, and the bracket between the largest that is fast
    enough and the next is divided again: latency grows with MACs, though not in proportion.

    Raises:
        PruningError: the smallest network that the floor allows is too slow.
    """
    smallest = {group.name: limits.allowed(group, floor)[0] for group in groups}
    full = {group.name: group.channels for group in groups}
    least, most = (
        cost_model.cost({group.name: split_by_parts(counts[group.name], group.parts) for group in groups}).macs
        for counts in (smallest, full)
    )

    def counts_at(macs: int) -> dict[str, int]:
        if macs in (least, most):
            return smallest if macs == least else full
        return target_counts(groups, scores, limits, cost_model, max_macs=macs, floor=floor)

    low, high = least, most
    best: dict[str, int] = {}
    for _ in range(_ROUNDS):
        budgets = [low, *_between(low, high), high]
        counts = [counts_at(macs) for macs in budgets]
        medians = list(measure([_built(model, groups, each) for each in counts]))
        fast = [index for index, ms in enumerate(medians) if ms <= max_ms]
        if not fast and low == least:
            raise PruningError(
                f"no network is fast enough: the smallest that the floor allows takes {medians[0]:.1f} ms here, "
                f"wanted at most {max_ms:.1f}"
            )
        if not fast:  # the machine has become busier: what was fast enough is no longer
            low, high = least, low
            continue
        best = counts[fast[-1]]
        if budgets[fast[-1]] == most or medians[fast[-1]] >= (1 - TOLERANCE) * max_ms:
            return best
        # both ends are measured again with what lies between them
        low, high = (budgets[fast[-1]], budgets[fast[-1] + 1]) if budgets[fast[-1]] < high else (high, most)
    return best


def _between(low: int, high: int) -> list[int]:
    return [low + (high - low) * step // (_PER_ROUND + 1) for step in range(1, _PER_ROUND + 1)]


def _built(model: PrunableNetwork, groups: Sequence[ChannelGroup], counts: dict[str, int]) -> PrunableNetwork:
    return model.resized({group.name: split_by_parts(counts[group.name], group.parts) for group in groups}).eval()
