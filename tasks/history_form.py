"""The form in which the history of nights is told: to the page, the command line, and by `--json` to other programs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modnet.records import Decision, Record
from tasks.history import LeftOut


class FrontLine(Record):
    """A network that no other beats in both error and latency."""

    candidate_id: str
    label: str
    error_ratio: float
    latency_ratio: float
    macs: int
    parameters: int
    epochs: int
    night_id: str = Field(description="the night that trained it last")
    page: str | None = Field(description="key of that night's report; None: it has none any more")


class NightLine(Record):
    """What one night came to."""

    night_id: str
    begun_at: str
    ended_at: str | None = Field(description="None: it is under way, or was killed")
    hours: float | None = Field(description="that it was given; None for a list")
    spent_hours: float
    busy_share: float | None
    tried: dict[str, int] = Field(description="how many of its candidates ended as what, as of now")
    new_points: tuple[str, ...] = Field(description="candidate_ids of the front that were not on it before")
    hypervolume_before: float | None
    hypervolume: float | None
    page: str | None = Field(description="key of its report; None: it has none any more")


class Cause(Record):
    """Why candidates were not trained to the end."""

    status: str
    reason: str = Field(description="of the last of them; numbers and names differ in the others")
    count: int
    last_at: str


class Gap(Record):
    """The part of the front where the most could be gained: between two neighbours."""

    faster: str = Field(description="candidate_id of the neighbour that is faster and errs more")
    better: str = Field(description="candidate_id of the one that errs less; `base`: the unpruned network")
    latency_ratios: tuple[float, float]
    error_ratios: tuple[float, float] = Field(description="from the better one's to the faster one's")
    area: float = Field(description="the most that one network between them could add to the hypervolume")


class BaseLine(Record):
    """All nights of one base."""

    base_id: str
    lead: tuple[str, ...] = Field(description="sentences: what the last night gained, what failed, what to try next")
    front: tuple[FrontLine, ...] = Field(description="of all candidates that were trained to the end, fastest first")
    nights: tuple[NightLine, ...] = Field(description="oldest first")
    causes: tuple[Cause, ...] = Field(description="the most frequent first")
    gap: Gap | None = Field(description="None: the front has too few points")
    nights_without_gain: int = Field(description="how many of the last nights, one after another")


class Reign(Record):
    """A release that a target ran, from when on."""

    since: str | None = Field(description="None: before the first decision that is known")
    release_id: str
    label: str | None
    network_id: str | None
    kind: str
    error: float | None
    latency_ratio: float | None = Field(description="by the release before")
    latency_low: float | None
    latency_high: float | None
    latency_to_first: float | None = Field(description="by the first release that is known: the product of the ratios")
    words: str


class TargetLine(Record):
    """What one target ran."""

    target: str
    reigns: tuple[Reign, ...] = Field(description="oldest first; the last one runs now")
    decisions: tuple[Decision, ...] = Field(description="all of them, oldest first")


class History(Record):
    """The history of nights, as `modnet history --json` prints it."""

    form: Literal[1] = 1
    lead: tuple[str, ...] = Field(description="sentences about the base that was worked on last")
    bases: tuple[BaseLine, ...] = Field(description="the one that was worked on last comes first")
    targets: tuple[TargetLine, ...]
    left_out: tuple[LeftOut, ...] = Field(description="records that could not be read")
