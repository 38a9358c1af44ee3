"""What nights remember: each candidate that was tried, each night, and each choice of what a target runs."""

from typing import Any, Literal

from pydantic import Field

from modnet.records.record import Record


class Trial(Record):
    """How far one candidate came, and what it came to: what the search of later nights learns from.

    Errors and latencies are multiples of the base's, which was measured beside it: so nights and machines compare.
    """

    candidate_id: str
    base_id: str
    label: str = Field(description="for tables and plots, as `Candidate.label`")
    night_id: str = Field(description="the night that trained it last")
    at: str = Field(description="when this was written, UTC, ISO 8601")
    status: Literal["trained", "stopped", "waiting", "failed", "refused"] = Field(
        description="trained: to the end. stopped: others were better after as many epochs. waiting: the hours were "
        "over, and a later night may go on. failed: by an error. refused: over a limit, and not trained at all"
    )
    reason: str = Field("", description="one sentence; empty for one that was trained")
    epochs: int = Field(ge=0, description="trained until now")
    error_ratio: float | None = Field(None, ge=0, description="error on tune after these epochs, by the base's")
    latency_ratio: float | None = Field(None, gt=0, description="by the base's, in turns with it on the node; FP32")
    macs: int = Field(ge=0)
    parameters: int = Field(ge=0)
    seconds: float = Field(ge=0, description="of computing, all nights together")


class FrontPoint(Record):
    """A candidate that no other beats in both error and latency."""

    candidate_id: str
    label: str
    error_ratio: float = Field(ge=0)
    latency_ratio: float = Field(gt=0)


class Night(Record):
    """One run that searched or worked a list off."""

    night_id: str = Field(description="sorts by time: `20261130T020000Z-<eight digits of the run's id>`")
    base_id: str
    flow_run_id: str | None = Field(description="of Prefect; None where it ran without a server")
    page: str | None = Field(None, description="key of the run's report in the store")
    begun_at: str = Field(description="UTC, ISO 8601")
    ended_at: str | None = Field(None, description="None: it is under way, or was killed")
    hours: float | None = Field(description="that it was given; None for a list")
    spent_hours: float = Field(ge=0, description="by the wall clock, without the time in which it was dead")
    busy_share: float | None = Field(None, ge=0, le=1, description="of the time of all its cores in which one trained")
    trials: tuple[str, ...] = Field((), description="candidate_ids that it has trained, refused or failed")
    front: tuple[FrontPoint, ...] = Field((), description="over all nights of this base, once it had ended")
    hypervolume_before: float | None = Field(None, ge=0, description="of that front, when it began, see modnet.search")
    hypervolume: float | None = Field(None, ge=0)


class Contender(Record):
    """One release that might be what a target runs, against the one that it runs."""

    release_id: str
    network_id: str
    label: str
    error: float | None = Field(ge=0, description="of the target's IR on tune")
    difference_low: float | None = Field(None, description="of its error minus the champion's, paired, 95 %")
    difference_high: float | None = None
    latency_ratio: float | None = Field(None, gt=0, description="by the champion's")
    latency_low: float | None = Field(None, gt=0, description="95 %")
    latency_high: float | None = Field(None, gt=0)
    latency_by: str = Field(description="whose latency it is: devices by name, or the host of the run")
    left_out: tuple[str, ...] = Field((), description="devices that did not count, each with the reason")


class Decision(Record):
    """What became of a target, and why."""

    target: str
    at: str = Field(description="UTC, ISO 8601")
    by: str = Field(description="the flow, or somebody by hand")
    kind: Literal["first", "promoted", "kept", "stopped", "rolled back", "pinned"]
    before: str | None = Field(description="release_id that the target ran; None: none")
    after: str = Field(description="release_id that it runs now")
    words: str = Field(description="one sentence that says why, with the numbers")
    contenders: tuple[Contender, ...] = ()


class Found(Record):
    """What a search has found in a night."""

    night: Night
    finalists: tuple[str, ...] = Field(description="candidate_ids that devices shall measure, see `tasks.search_night`")


class Learned(Record):
    """A candidate of other runs that a night's proposals are made from as well."""

    parameters: dict[str, Any] = Field(description="see `tasks.search_proposals`")
    error_ratio: float = Field(ge=0)
    latency_ratio: float = Field(gt=0)


class SearchEvent(Record):
    """What happened in a search, in the order in which it did: from all of them the search is made again."""

    kind: Literal["began", "started", "reached", "refused", "failed", "paused", "ended"]
    night_id: str
    written_by: str = Field(description="by chance, so that no two runs write the same")
    spent_s: float = Field(ge=0, description="of this night, without the time in which it was dead")
    candidate_id: str | None = Field(None, description="None where a night began or ended")
    parameters: dict[str, Any] | None = Field(None, description="of a candidate that starts for the first time")
    rung: int | None = Field(None, ge=0, description="that it trains to, or has reached")
    epochs: int = Field(0, ge=0)
    error_ratio: float | None = Field(None, ge=0)
    latency_ratio: float | None = Field(None, gt=0)
    seconds: float = Field(0, ge=0, description="of computing, all its rungs together")
    reason: str = ""
    learned: tuple[Learned, ...] = Field((), description="when a night began")


def trial_key(base_id: str, candidate_id: str) -> str:
    """Key of a Trial in the store."""
    return f"trials/{base_id}/{candidate_id}.json"


def night_key(night_id: str) -> str:
    """Key of a Night in the store."""
    return f"nights/{night_id}.json"


def decision_key(target: str, at: str) -> str:
    """Key of a Decision in the store."""
    return f"decisions/{target}/{at.replace(':', '').replace('-', '')}.json"


def event_key(search_id: str, number: int) -> str:
    """Key of a search's event in the store; they count from 0."""
    return f"searches/{search_id}/{number:07d}.json"
