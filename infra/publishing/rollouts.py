"""What becomes of a release that a share of the devices runs: all get it, it is stopped, or it waits for longer.

Only signed pointers and the devices' reports decide. How long and how strict is given by the caller, and is read from
nothing in the store.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from infra.device.documents.checks import time_of
from infra.device.documents.latency_report import FAILED, WRONG, Comparison
from infra.device.documents.pointer import Pointer
from infra.device.errors import NotStoredError
from infra.device.releases import parse_pointer, read_trials
from infra.device.reports import Answer
from infra.device.shown import shown
from infra.device.trust import Trust
from infra.publishing.stops import DAMAGED, read_stops

_NAMED = 3
"""So many devices does a reason name."""
_SHOWN = 150
"""So many characters of what a device says does it repeat."""
_SAYS = {FAILED: "could not run it", WRONG: "computes something else"}


class Report(Answer, Protocol):
    """What is read of a report, or of a row that was made of one."""

    @property
    def reason(self) -> str | None: ...
    @property
    def comparison(self) -> Comparison | None: ...
    @property
    def is_trustworthy(self) -> bool: ...


@dataclass(frozen=True)
class Rules:
    """When a rollout ends.

    Attributes:
        hold: the least time that a share of the devices runs the release before all do.
        slower_limit: a device that surely takes longer than so many times the release before stops it.
        min_reports: so many devices must have sent a trustworthy report before all get it.
    """

    hold: timedelta
    slower_limit: float
    min_reports: int


@dataclass(frozen=True)
class Verdict:
    """What shall become of a rollout, and why in words."""

    step: Literal["stop", "finish", "wait"]
    words: str


@dataclass(frozen=True)
class RolloutRow:
    """What a target runs, for a page or a table.

    Attributes:
        target: its name.
        release_id: that the pointer leads to; None where the pointer is damaged.
        share: of the devices that run it.
        since: when the pointer was moved; None where it is damaged.
        former: the release before, which the other devices run; None: none is known.
        state: in words.
        pins: device -> the release that it runs whatever the target runs.
    """

    target: str
    release_id: str | None
    share: float
    since: str | None
    former: str | None
    state: str
    pins: dict[str, str]


def verdict(
    pointer: Pointer, reports: Sequence[Report], left_out: Collection[str], rules: Rules, now: datetime
) -> Verdict:
    """What shall become of the rollout that a pointer speaks of.

    A device that is missing or waits says nothing. One that fails at the release before as well says nothing of this
    one. A comparison counts also where the latency is in doubt: both releases ran in turns, and its interval says how
    sure it is.

    Args:
        pointer: whose share is below 1.
        reports: of all devices on this release and on the one before, each (release, target, device, runtime) once.
        left_out: devices whose reports do not count: they are pinned, so the pointer is not theirs, or revoked.
        rules: when a rollout ends.
        now: the time.
    """
    here = [one for one in reports if one.target == pointer.target and one.device not in left_out]
    of_share = [one for one in here if one.release_id == pointer.release_id and pointer.is_for(one.device)]
    failed_before = {
        (one.device, one.runtime)
        for one in here
        if one.release_id == pointer.replaces and one.status in (FAILED, WRONG)
    }
    problems = [
        problem
        for one in of_share
        if (problem := _problem(one, pointer, rules)) and (one.device, one.runtime) not in failed_before
    ]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        return Verdict("stop", "; ".join(problems[:_NAMED]) + more)
    trusted = len({one.device for one in of_share if one.is_trustworthy})
    until = time_of(pointer.moved_at) + rules.hold
    told = f"{trusted} trustworthy report{'' if trusted == 1 else 's'}, wanted {rules.min_reports}"
    if now < until:
        return Verdict("wait", f"all devices get it at {until:%Y-%m-%d %H:%M} UTC at the earliest; {told}")
    if trusted < rules.min_reports:
        return Verdict("wait", f"its time is over since {until:%Y-%m-%d %H:%M} UTC, and it waits for devices; {told}")
    return Verdict(
        "finish", f"{told}; its {rules.hold / timedelta(hours=1):g} hours are over, and no report speaks against it"
    )


def _problem(report: Report, pointer: Pointer, rules: Rules) -> str | None:
    """What a report says against a release, in words that may be shown."""
    who, compared = f"device {report.device} ({shown(report.runtime)[:_SHOWN]})", report.comparison
    if report.status in _SAYS:
        return f"{who} {_SAYS[report.status]}: {shown(report.reason)[:_SHOWN]}"
    if compared is None or compared.release_id != pointer.replaces or compared.ratio_low <= rules.slower_limit:
        return None
    return (
        f"{who} takes {compared.ratio:.2f} times as long as with release {compared.release_id} "
        f"({compared.ratio_low:.2f} to {compared.ratio_high:.2f}; the limit is {rules.slower_limit:g})"
    )


def rollout_rows(
    trust: Trust, rules: Rules | None = None, reports: Sequence[Report] = (), now: datetime | None = None
) -> list[RolloutRow]:
    """What each target runs, its rollout, what is on trial and who is pinned; a damaged pointer is said in its row.

    Args:
        trust: what is signed.
        rules: by which the state of a rollout is told; None: only how far it is.
        reports: as `verdict` takes them.
        now: the time; by default that of the clock.

    Raises:
        NotStoredError: nothing was ever signed in this store.
        UntrustedError, StoreUnavailableError: as `Trust.refresh`.
    """
    found = trust.paths("targets/")
    stops = read_stops(trust)
    rows = []
    for target in sorted({path.split("/")[1] for path in found}):
        pins = {
            path.rpartition("/")[2].removesuffix(".json"): _release_at(trust, path, target)
            for path in found
            if path.startswith(f"targets/{target}/pins/")
        }
        try:
            pointer = _pointer_at(trust, f"targets/{target}/current.json", target)
        except NotStoredError:
            state = "only pinned devices run a release"
            rows.append(RolloutRow(target, None, 1.0, None, None, state, pins))
            continue
        except DAMAGED as error:
            rows.append(RolloutRow(target, None, 1.0, None, None, f"a damaged pointer: {error}", pins))
            continue
        state = "all devices run it"
        if pointer.share < 1:
            state = f"{percent(pointer.share)} of the devices run it, the others {pointer.replaces}"
            if rules is not None:
                state += f"; {verdict(pointer, reports, pins, rules, now or datetime.now(UTC)).words}"
        state += _on_trial(trust, target)
        stopped = next((one for one in stops if one.target == target and one.back_to == pointer.release_id), None)
        rows.append(
            RolloutRow(
                *(target, pointer.release_id, pointer.share, pointer.moved_at, pointer.replaces),
                state if stopped is None else f"{state}; {stopped.words}",
                pins,
            )
        )
    return rows


def _on_trial(trust: Trust, target: str) -> str:
    try:
        trials = read_trials(trust, target)
    except NotStoredError:
        return ""
    except DAMAGED as error:
        return f"; what is on trial is damaged: {error}"
    return f"; on trial until {time_of(trials.decide_by):%Y-%m-%d %H:%M} UTC: {', '.join(trials.release_ids)}"


def percent(share: float) -> str:
    """0.2 as `20 %`."""
    return f"{100 * share:g} %"


def _pointer_at(trust: Trust, path: str, target: str) -> Pointer:
    return parse_pointer(trust.read(path, max_bytes=Pointer.max_bytes), target)


def _release_at(trust: Trust, path: str, target: str) -> str:
    try:
        return _pointer_at(trust, path, target).release_id
    except DAMAGED as error:
        return f"a damaged pointer: {error}"
