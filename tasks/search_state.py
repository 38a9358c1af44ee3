"""Where a search is: made from its events alone, so that a killed night goes on and any night can be made again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from modnet.configs.search import SearchConfig
from modnet.records import SearchEvent
from modnet.search.halving import Reached, may_go_on, next_to_go_on
from tasks.search_proposals import Known, Parameters, propose

_OF_NO_USE = (4.0, 4.0)
"""What a candidate counts as that failed or is over a limit: nobody shall ask for one like it."""


@dataclass(frozen=True)
class Step:
    """What a free worker does next: it trains a candidate to a rung.

    Attributes:
        rung: its number; a candidate that begins is pruned and timed first.
        parameters: of a candidate that nobody has tried; its candidate_id is known once it has a name in the store.
    """

    candidate_id: str | None
    rung: int
    parameters: Parameters


@dataclass
class SearchState:
    """What the events of a search say together.

    Attributes:
        rungs: epochs of each.
        parameters: of every candidate, in the order in which they began.
        reached: what each came to that was timed and trained.
        refused: why one is not trained: it cannot be pruned so, or is over a limit.
        failed: by what one failed.
        under_way: the rung that each candidate trains to which has begun and not ended.
        paused: likewise, of those that stopped as the hours were over or their run was killed, in that order.
        seconds: of computing for each.
        epochs: that each has trained.
        learned: what candidates of other runs came to.
        of_night: the candidates of this night, or of the last one.
        seconds_before: as `seconds`, when this night began.
        night_id: of the night that is under way; None: none is.
        spent_s: of that night.
        event_count: the number of the next event.
    """

    rungs: tuple[int, ...]
    parameters: dict[str, Parameters] = field(default_factory=dict)
    reached: dict[str, Reached] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    under_way: dict[str, int] = field(default_factory=dict)
    paused: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    learned: tuple[Known, ...] = ()
    night_id: str | None = None
    of_night: dict[str, None] = field(default_factory=dict)
    seconds_before: dict[str, float] = field(default_factory=dict)
    spent_s: float = 0.0
    event_count: int = 0

    def add(self, event: SearchEvent) -> None:
        """Takes in the next event."""
        self.event_count += 1
        self.spent_s = event.spent_s
        name = event.candidate_id
        if event.kind == "began":
            self.night_id, self.of_night, self.seconds_before = event.night_id, {}, dict(self.seconds)
            self.learned = tuple(Known(one.parameters, (one.error_ratio, one.latency_ratio)) for one in event.learned)
        elif event.kind == "ended":
            self.night_id = None
        elif name is not None:
            self._of_candidate(name, event)

    def _of_candidate(self, name: str, event: SearchEvent) -> None:
        self.of_night[name] = None
        if event.kind == "started":
            if event.parameters is not None:
                self.parameters[name] = event.parameters
            self.paused.pop(name, None)
            self.under_way[name] = event.rung or 0
            return
        rung = self.under_way.pop(name, 0)
        self.seconds[name] = max(event.seconds, self.seconds.get(name, 0.0))  # who is paused does not say it
        self.epochs[name] = max(event.epochs, self.epochs.get(name, 0))
        if event.kind == "paused":
            self.paused[name] = rung
        elif event.kind == "refused":
            self.refused[name] = event.reason
        elif event.kind == "failed":
            self.failed[name] = event.reason
        elif event.error_ratio is not None and event.latency_ratio is not None:
            before = self.reached.get(name, Reached(event.latency_ratio))
            if len(before.errors) == rung:
                self.reached[name] = Reached(event.latency_ratio, (*before.errors, event.error_ratio))

    def next_step(self, config: SearchConfig, seed: int) -> Step | None:
        """What a free worker does; None: nothing, as there are candidates enough, or the space holds no other.

        What was under way comes first, then who goes on, then a new candidate.
        """
        for name, rung in self.paused.items():
            return Step(name, rung, self.parameters[name])
        goes_on = next_to_go_on(self._able(), len(self.rungs), config.reduction, list(self.under_way))
        if goes_on is not None:
            return Step(goes_on, len(self.reached[goes_on].errors), self.parameters[goes_on])
        if config.candidates is not None and len(self.parameters) >= config.candidates:
            return None
        known = [*self.learned, *self.known()]
        proposal = propose(config.space, known, seed, len(self.parameters))
        return None if proposal in self.parameters.values() else Step(None, 0, proposal)

    def known(self) -> list[Known]:
        """The candidates of this search, in the order in which they began, as proposals are made from them."""
        return [Known(one, self._point(name)) for name, one in self.parameters.items()]

    @property
    def busy_s(self) -> float:
        """Seconds of training in this night, all candidates together, as far as rungs were reached."""
        return sum(self.seconds.values()) - sum(self.seconds_before.values())

    def useless_in_a_row(self) -> list[str]:
        """Why the last candidates of this night were refused or failed, up to one that was not; the first one first."""
        found: list[str] = []
        for name in reversed(self.of_night):
            reason = self.refused.get(name) or self.failed.get(name)
            if reason is None and name not in self.under_way:
                break
            if reason is not None:
                found.insert(0, reason)
        return found

    def why_stopped(self, name: str, reduction: int) -> str:
        """Of a candidate between two rungs why it does not go on, as things are."""
        rung, able = len(self.reached[name].errors) - 1, self._able()
        among = sum(len(one.errors) > rung for one in able.values())
        best = len(may_go_on(able, rung, reduction))
        return f"after epoch {self.rungs[rung]} it is none of the best {best} of {among}, which go on"

    def _able(self) -> dict[str, Reached]:
        """Those that may go on, if they are good enough."""
        return {name: one for name, one in self.reached.items() if name not in self.failed | self.refused}

    def _point(self, name: str) -> tuple[float, float] | None:
        if name in self.refused or name in self.failed:
            return _OF_NO_USE
        one = self.reached.get(name)
        return None if one is None or not one.errors else (one.errors[-1], one.latency)


def state_of(events: Iterable[SearchEvent], rungs: tuple[int, ...]) -> SearchState:
    """The state after these events."""
    state = SearchState(rungs)
    for event in events:
        state.add(event)
    return state
