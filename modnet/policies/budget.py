"""The largest network within a budget of MACs, parameters or both."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from modnet.errors import PruningError
from modnet.policies.cost import Cost, CostModel
from modnet.policies.policy import Decision, Prunable, SteppedPolicy, split_by_parts

if TYPE_CHECKING:
    from modnet.network import ChannelGroup


class BudgetPolicy(SteppedPolicy):
    """Channels that matter least for what they cost go until the network is small enough."""

    kind: Literal["budget"] = Field("budget", description="Names this policy.")
    max_macs: int | None = Field(None, ge=1, description="Multiply-accumulates of the deployed graph, 512×512 image.")
    max_parameters: int | None = Field(None, ge=1, description="Parameters of the deployed graph.")
    floor: float = Field(0.1, gt=0, le=1, description="Share of its channels that every group keeps at least.")

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.max_macs is None and self.max_parameters is None:
            raise ValueError("a budget needs max_macs, max_parameters or both, got neither")
        return self

    @property
    def label(self) -> str:
        macs = [f"{self.max_macs / 1e9:.3g} GMAC"] if self.max_macs else []
        parameters = [f"{self.max_parameters / 1e6:.3g} M"] if self.max_parameters else []
        return " ".join(macs + parameters)

    @property
    def limits(self) -> Mapping[str, float]:
        limits = {"parameters": self.max_parameters, "macs": self.max_macs}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def decide(self, prunable: Prunable) -> Decision:
        limits = {"max_macs": self.max_macs, "max_parameters": self.max_parameters}
        return Decision(counts_within(prunable, **limits, floor=self.floor))

    def on_the_way(self, step: int, steps: int, unpruned: Cost) -> Self:
        """Budgets between the unpruned network and this one, spaced geometrically."""
        max_macs = _between(unpruned.macs, self.max_macs, step, steps)
        max_parameters = _between(unpruned.parameters, self.max_parameters, step, steps)
        return self.model_copy(update={"max_macs": max_macs, "max_parameters": max_parameters})

    def of_step(self, step: int, steps: int, unpruned: Cost) -> Self:
        """The same budgets; the floor is divided likewise, as it is a share of what the step before left."""
        return self.on_the_way(step, steps, unpruned).model_copy(update={"floor": self.floor ** (1 / steps)})


def _between(unpruned: int, limit: int | None, step: int, steps: int) -> int | None:
    """unpruned · (limit / unpruned)^(step / steps); exactly the limit after the last step."""
    if limit is None or step == steps:
        return limit
    return round(unpruned * math.pow(limit / unpruned, step / steps))


def counts_within(
    prunable: Prunable, *, max_macs: int | None = None, max_parameters: int | None = None, floor: float
) -> dict[str, int]:
    """Group name → channels to keep: what is worth least for what it costs goes until the network is within budget.

    A step brings one group to its next smaller width. Its worth is the score of the channels that go, its cost the
    share of each exceeded budget that it saves. The last steps may have gone further than was needed: steps are then
    taken back, the most worth for its cost first, until no single one fits.

    Raises:
        PruningError: the smallest network that floor, multiple and minimum allow is above the budget.
    """
    budget = _Budget(max_parameters, max_macs)
    scores, allowed = prunable.scores, prunable.allowed
    ladders = [_Ladder(group, scores[group.name], allowed.from_floor(group, floor)) for group in prunable.groups]
    search = _Search(ladders, prunable.cost_model)
    search.shrink_into(budget)
    search.grow_within(budget)
    return {name: ladder.count for name, ladder in search.ladders.items()}


class _Budget(NamedTuple):
    """The most that the network may cost; None is no limit."""

    parameters: int | None
    macs: int | None

    def exceeded_by(self, cost: Cost) -> tuple[bool, ...]:
        return tuple(limit is not None and got > limit for got, limit in zip(cost, self, strict=True))

    def share(self, saved: Cost, counted: Iterable[bool]) -> float:
        """`saved` in units of the budget, over the limits that are counted."""
        parts = zip(saved, self, counted, strict=True)
        return sum(abs(part) / limit for part, limit, is_counted in parts if limit and is_counted)


class _Ladder:
    """The widths that one group may have, and what its best channels are worth together at each."""

    def __init__(self, group: ChannelGroup, scores: Sequence[float], widths: list[int]) -> None:
        self.name = group.name
        self._widths = widths
        self.parts = [split_by_parts(width, group.parts) for width in widths]
        ends = zip(group.parts, accumulate(group.parts), strict=True)
        by_part = [sorted(scores[end - part : end], reverse=True) for part, end in ends]
        best = [list(accumulate(one, initial=0.0)) for one in by_part]
        self.worth = [sum(sums[n] for sums, n in zip(best, parts, strict=True)) for parts in self.parts]
        self.rung = len(widths) - 1

    @property
    def count(self) -> int:
        return self._widths[self.rung]

    @property
    def is_full(self) -> bool:
        return self.rung == len(self._widths) - 1


class _Search:
    """A network's widths on the way to the budget, and what it costs at them."""

    def __init__(self, ladders: list[_Ladder], cost_model: CostModel) -> None:
        self.ladders = {ladder.name: ladder for ladder in ladders}
        self._model = cost_model
        self._widths = {**cost_model.full, **{ladder.name: ladder.parts[ladder.rung] for ladder in ladders}}
        self.cost = cost_model.cost(self._widths)

    def shrink_into(self, budget: _Budget) -> None:
        exceeded = budget.exceeded_by(self.cost)
        queue = self._queue(self.ladders, budget, exceeded)
        while any(exceeded):
            if not queue:
                raise PruningError(
                    f"the smallest network that floor, multiple and minimum allow has {self.cost.parameters} "
                    f"parameters and {self.cost.macs} MACs, wanted at most {budget.parameters} and {budget.macs}; "
                    "lower them or exclude less"
                )
            entry = heapq.heappop(queue)
            name = entry[1]
            if entry != self._smaller(name, budget, exceeded):
                continue  # the group or a neighbour has changed since; a newer entry stands in the queue
            self._move(name, -1)
            before, exceeded = exceeded, budget.exceeded_by(self.cost)
            if exceeded != before:  # one limit is met, the others alone say now what a step saves
                queue = self._queue(self.ladders, budget, exceeded)
            else:
                for fresh in self._queue(self._model.neighbours(name) & self.ladders.keys(), budget, exceeded):
                    heapq.heappush(queue, fresh)

    def grow_within(self, budget: _Budget) -> None:
        while True:
            steps = [
                (self._worth_per_share(name, +1, budget, (True, True)), name)
                for name, ladder in self.ladders.items()
                if not ladder.is_full and not any(budget.exceeded_by(self._cost_after(name, +1)))
            ]
            if not steps:
                return
            self._move(max(steps)[1], +1)

    def _queue(self, names: Iterable[str], budget: _Budget, exceeded: tuple[bool, ...]) -> list[tuple[float, str, int]]:
        entries = [entry for name in names if (entry := self._smaller(name, budget, exceeded)) is not None]
        heapq.heapify(entries)
        return entries

    def _smaller(self, name: str, budget: _Budget, exceeded: tuple[bool, ...]) -> tuple[float, str, int] | None:
        """Worth per saving of the group's next smaller width, its name, its rung; None at the bottom."""
        rung = self.ladders[name].rung
        return None if rung == 0 else (self._worth_per_share(name, -1, budget, exceeded), name, rung)

    def _worth_per_share(self, name: str, step: int, budget: _Budget, counted: tuple[bool, ...]) -> float:
        ladder = self.ladders[name]
        worth = abs(ladder.worth[ladder.rung + step] - ladder.worth[ladder.rung])
        after = self._cost_after(name, step)
        share = budget.share(Cost(*(old - new for old, new in zip(self.cost, after, strict=True))), counted)
        return worth / share if share > 0 else math.inf

    def _cost_after(self, name: str, step: int) -> Cost:
        ladder = self.ladders[name]
        widths = {**self._widths, name: ladder.parts[ladder.rung + step]}
        parameters, macs = self.cost
        for term in self._model.terms_of[name]:
            old, new = term.cost(self._widths), term.cost(widths)
            parameters += new.parameters - old.parameters
            macs += new.macs - old.macs
        return Cost(parameters, macs)

    def _move(self, name: str, step: int) -> None:
        self.cost = self._cost_after(name, step)
        self.ladders[name].rung += step
        self._widths[name] = self.ladders[name].parts[self.ladders[name].rung]
