"""The largest network that is fast enough, found by measuring some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modnet.errors import PruningError, UnsteadyLatencyError
from modnet.network import ChannelGroup, PrunableNetwork
from modnet.pruning.cost import CostModel
from modnet.pruning.criteria import Scores
from modnet.pruning.policies import Limits, split_by_parts
from modnet.pruning.targets import target_counts

MeasureLatency = Callable[[Sequence[PrunableNetwork]], Sequence[float]]
"""Networks → their median latencies in milliseconds, measured interleaved, in any state of their weights."""

TOLERANCE = 0.05
_ROUNDS, _PER_ROUND = 4, 4
_CLOSINGS = 3
_CLOSING_TOLERANCE = 3 * TOLERANCE  # two measurements of one network differ by more than a search's step


@dataclass(frozen=True)
class FastEnough:
    """What was found, and what the last look at it said.

    Attributes:
        counts: group name → channels to keep.
        ms: median of the closing measurement, milliseconds.
        unpruned_ms: medians of the unpruned network, which ran beside the others in every measurement; the closing
            one's is the last. They differ when the machine had other work meanwhile.
    """

    counts: dict[str, int]
    ms: float
    unpruned_ms: tuple[float, ...]


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
) -> FastEnough:
    """Channels to keep so that the network takes at most `max_ms`, and not much less where a larger one does as well.

    What a search finds is measured once more, beside the unpruned network alone, and this closing measurement decides:
    of many networks that are measured, the largest that was fast enough may have been lucky, or the machine busy. Too
    slow, and the search goes on below it and aims 5 % lower; more than 15 % too fast, and it goes on above it.

    Raises:
        PruningError: the smallest network that the floor allows is too slow.
        UnsteadyLatencyError: no closing measurement of three was within `max_ms`.
    """
    search = _Search(model, groups, scores, limits, cost_model, measure, max_ms=max_ms, floor=floor)
    low, high, aim = search.least, search.most, max_ms
    found: tuple[int, FastEnough] | None = None
    closings: list[float] = []
    for _ in range(_CLOSINGS):
        below, macs = search.largest_within(aim, low, high)
        if found is not None and macs <= found[0]:
            break  # there is no larger one
        (ms,) = search.measured([macs])
        closings.append(ms)
        if ms > max_ms:
            low, high, aim = below, macs, aim - TOLERANCE * max_ms
            continue
        found = macs, FastEnough(search.counts_at(macs), ms, tuple(search.unpruned_ms))
        if macs == search.most or ms >= (1 - _CLOSING_TOLERANCE) * max_ms:
            break
        low, high = macs, search.most
    if found is None:
        least, most = min(search.unpruned_ms), max(search.unpruned_ms)
        raise UnsteadyLatencyError(
            f"what was fast enough was too slow when it was measured again, wanted at most {max_ms:.1f} ms: "
            f"got {', '.join(f'{ms:.1f}' for ms in closings)} ms. The unpruned network took {least:.1f} to {most:.1f} "
            "ms meanwhile: where these differ the machine had other work. Try again when it is idle, or allow more"
        )
    return found[1]


class _Search:
    """Networks between the smallest that the floor allows and the unpruned one, by their MACs."""

    def __init__(
        self,
        model: PrunableNetwork,
        groups: Sequence[ChannelGroup],
        scores: Scores,
        limits: Limits,
        cost_model: CostModel,
        measure: MeasureLatency,
        *,
        max_ms: float,
        floor: float,
    ) -> None:
        self._model, self._groups, self._scores = model, groups, scores
        self._limits, self._cost_model, self._measure = limits, cost_model, measure
        self._max_ms, self._floor = max_ms, floor
        self._smallest = {group.name: limits.allowed(group, floor)[0] for group in groups}
        self._full = {group.name: group.channels for group in groups}
        self.least, self.most = (cost_model.cost(self._widths(counts)).macs for counts in (self._smallest, self._full))
        self.unpruned_ms: list[float] = []

    def counts_at(self, macs: int) -> dict[str, int]:
        """Channels of the groups in the network of at most so many MACs."""
        if macs in (self.least, self.most):
            return self._smallest if macs == self.least else self._full
        return target_counts(
            self._groups, self._scores, self._limits, self._cost_model, max_macs=macs, floor=self._floor
        )

    def measured(self, budgets: Sequence[int]) -> list[float]:
        """Median milliseconds of the networks of these budgets, the unpruned one among them in every round."""
        networks = [self._model.resized(self._widths(self.counts_at(macs))).eval() for macs in budgets]
        unpruned, *medians = self._measure([self._model, *networks])
        self.unpruned_ms.append(unpruned)
        return medians

    def largest_within(self, aim: float, low: int, high: int) -> tuple[int, int]:
        """The largest budget that takes at most `aim` ms, 5 % less at the most, and the next smaller one that was seen.

        Networks at several budgets are measured interleaved, and the bracket between the largest that is fast enough
        and the next is divided again: latency grows with MACs, though not in proportion.
        """
        below = found = self.least
        for _ in range(_ROUNDS):
            budgets = [low, *_between(low, high), high]
            medians = self.measured(budgets)
            fast = [index for index, ms in enumerate(medians) if ms <= aim]
            if not fast and low == self.least:
                if len(self.unpruned_ms) == 1 and medians[0] > self._max_ms:
                    raise PruningError(
                        f"no network is fast enough: the smallest that the floor allows takes {medians[0]:.1f} ms "
                        f"here, wanted at most {self._max_ms:.1f}; the unpruned one took {self.unpruned_ms[-1]:.1f} ms "
                        "beside it"
                    )
                return self.least, self.least
            if not fast:  # the machine has become busier: what was fast enough is no longer
                low, high, below, found = self.least, low, self.least, self.least
                continue
            best = fast[-1]
            below, found = budgets[max(0, best - 1)], budgets[best]
            if found == self.most or medians[best] >= (1 - TOLERANCE) * aim:
                break
            # both ends are measured again with what lies between them
            low, high = (found, budgets[best + 1]) if found < high else (high, self.most)
        return below, found

    def _widths(self, counts: dict[str, int]) -> dict[str, tuple[int, ...]]:
        return {group.name: split_by_parts(counts[group.name], group.parts) for group in self._groups}


def _between(low: int, high: int) -> list[int]:
    return [low + (high - low) * step // (_PER_ROUND + 1) for step in range(1, _PER_ROUND + 1)]
