"""The largest network that is fast enough, found by measuring some."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from modnet.errors import PruningError, UnsteadyLatencyError
from modnet.policies.budget import counts_within
from modnet.policies.cost import Widths
from modnet.policies.policy import Decision, MeasuredLatency, MeasureWidths, Prunable, PruningPolicy, split_by_parts

TOLERANCE = 0.05
_ROUNDS, _PER_ROUND = 4, 4
_CLOSINGS = 3
_CLOSING_TOLERANCE = 3 * TOLERANCE  # two measurements of one network differ by more than a search's step


class LatencyPolicy(PruningPolicy):
    """As a budget of MACs, found by measuring: the largest network that is fast enough on this machine."""

    kind: Literal["latency"] = Field("latency", description="Names this policy.")
    max_ms: float = Field(gt=0, le=1e6, description="Median latency of the FP32 IR of one 512×512 image, milliseconds.")
    floor: float = Field(0.1, gt=0, le=1, description="Share of its channels that every group keeps at least.")

    measures_latency: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return f"{self.max_ms:g} ms"

    @property
    def limits(self) -> Mapping[str, float]:
        return {"ms": self.max_ms}

    def decide(self, prunable: Prunable) -> Decision:
        """Channels to keep so that the network takes at most `max_ms`, and not much less where a larger one does too.

        What a search finds is measured once more, beside the unpruned network alone, and this closing measurement
        decides: of many networks that are measured, the largest that was fast enough may have been lucky, or the
        machine busy. Too slow, and the search goes on below it and aims 5 % lower; more than 15 % too fast, and it goes
        on above it.

        Raises:
            PruningError: there is nothing to measure with, or the smallest network that the floor allows is too slow.
            UnsteadyLatencyError: no closing measurement of three was within `max_ms`.
        """
        if prunable.measure is None:
            raise PruningError("the latency policy measures networks, and nothing to measure with was given")
        max_ms = self.max_ms
        search = _Search(prunable, prunable.measure, max_ms=max_ms, floor=self.floor)
        low, high, aim = search.least, search.most, max_ms
        found: tuple[int, Decision] | None = None
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
            latency = MeasuredLatency(ms=ms, unpruned_ms=tuple(search.unpruned_ms))
            found = macs, Decision(search.counts_at(macs), latency=latency)
            if macs == search.most or ms >= (1 - _CLOSING_TOLERANCE) * max_ms:
                break
            low, high = macs, search.most
        if found is None:
            least, most = min(search.unpruned_ms), max(search.unpruned_ms)
            raise UnsteadyLatencyError(
                f"what was fast enough was too slow when it was measured again, wanted at most {max_ms:.1f} ms: got "
                f"{', '.join(f'{ms:.1f}' for ms in closings)} ms. The unpruned network took {least:.1f} to "
                f"{most:.1f} ms meanwhile: where these differ the machine had other work. Try again when it is idle, "
                "or allow more"
            )
        return found[1]


class _Search:
    """Networks between the smallest that the floor allows and the unpruned one, by their MACs."""

    def __init__(self, prunable: Prunable, measure: MeasureWidths, *, max_ms: float, floor: float) -> None:
        self._prunable, self._measure = prunable, measure
        self._max_ms, self._floor = max_ms, floor
        self._smallest = {group.name: prunable.allowed.from_floor(group, floor)[0] for group in prunable.groups}
        self._full = {group.name: group.channels for group in prunable.groups}
        cost, ends = prunable.cost_model.cost, (self._smallest, self._full)
        self.least, self.most = (cost(self._widths(counts)).macs for counts in ends)
        self.unpruned_ms: list[float] = []

    def counts_at(self, macs: int) -> dict[str, int]:
        """Channels of the groups in the network of at most so many MACs."""
        if macs in (self.least, self.most):
            return self._smallest if macs == self.least else self._full
        return counts_within(self._prunable, max_macs=macs, floor=self._floor)

    def measured(self, budgets: Sequence[int]) -> Sequence[float]:
        """Median milliseconds of the networks of these budgets, the unpruned one among them in every round."""
        unpruned, medians = self._measure([self._widths(self.counts_at(macs)) for macs in budgets])
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

    def _widths(self, counts: Mapping[str, int]) -> Widths:
        return {group.name: split_by_parts(counts[group.name], group.parts) for group in self._prunable.groups}


def _between(low: int, high: int) -> list[int]:
    return [low + (high - low) * step // (_PER_ROUND + 1) for step in range(1, _PER_ROUND + 1)]
