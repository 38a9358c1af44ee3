"""What nights have come to, in figures and sentences: made once, for the page, the command line and its JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import sqrt

from infra.device.shown import shown
from modnet.records import Contender, Decision, Night, Trial
from modnet.search.hypervolume import REFERENCE, front
from tasks.history import Memory, best_of, moment, point_of
from tasks.history_form import BaseLine, Cause, FrontLine, Gap, History, NightLine, Reign, TargetLine

GAINED = 1e-9  # of hypervolume: less is rounding
_VARYING = re.compile(r"[0-9a-f]{12,}|\d[\d.,]*")  # what differs in reasons that are the same
_ENDED_BADLY = ("failed", "stopped", "refused")


def history_of(memory: Memory) -> History:
    """Sums up what the store holds."""
    targets = sorted({one.target for one in memory.decisions} | {row.target for row in memory.rows})
    bases = [_base_line(memory, base_id, is_first=not number) for number, base_id in enumerate(bases_in_order(memory))]
    return History(
        lead=bases[0].lead if bases else (),
        bases=tuple(bases),
        targets=tuple(_target_line(memory, target) for target in targets),
        left_out=tuple(memory.left_out),
    )


def bases_in_order(memory: Memory) -> list[str]:
    """Bases by when they were last worked on, newest first."""
    last = {trial.base_id: moment(trial.at) for trial in memory.trials}
    for night in memory.nights:
        last[night.base_id] = max(moment(night.begun_at), last.get(night.base_id, moment(night.begun_at)))
    return sorted(last, key=lambda base_id: (last[base_id], base_id), reverse=True)


def nights_without_gain(nights: Iterable[Night]) -> int:
    """How many of the last ended nights of one base, one after another, made the front no better.

    Nights that say nothing of the front count neither way: they failed, or have compared nothing.
    """
    count = 0
    for night in nights:
        if (gained := _gained(night)) is not None:
            count = 0 if gained > GAINED else count + 1
    return count


def _gained(night: Night | NightLine) -> float | None:
    if night.hypervolume is None or night.hypervolume_before is None:
        return None
    return night.hypervolume - night.hypervolume_before


def _base_line(memory: Memory, base_id: str, *, is_first: bool) -> BaseLine:
    nights = [night for night in memory.nights if night.base_id == base_id]
    trials = [trial for trial in memory.trials if trial.base_id == base_id]
    pages = {night.night_id: night.page for night in nights if night.page in memory.pages}
    best = best_of(trials)
    gap, lines = _gap(best), _night_lines(nights, trials, pages)
    without_gain = nights_without_gain(nights)
    last = next((line for line in reversed(lines) if line.ended_at is not None), None)
    lead = [] if last is None else [_what_was_gained(last, without_gain)]
    if last is not None and is_first:  # what is decided is of the base that is worked on now
        lead[0] += _what_changed_hands(last, memory.decisions)
    if last is not None:
        lead.append(_what_failed(last, trials))
    lead.append(_what_next(gap, best))
    return BaseLine(
        base_id=base_id,
        lead=tuple(sentence for sentence in lead if sentence),
        front=tuple(_front_line(trial, pages) for trial in best),
        nights=tuple(lines),
        causes=tuple(_causes(trials)),
        gap=gap,
        nights_without_gain=without_gain,
    )


def _front_line(trial: Trial, pages: Mapping[str, str | None]) -> FrontLine:
    error, latency = point_of(trial)
    return FrontLine(
        candidate_id=trial.candidate_id,
        label=trial.label,
        error_ratio=error,
        latency_ratio=latency,
        macs=trial.macs,
        parameters=trial.parameters,
        epochs=trial.epochs,
        night_id=trial.night_id,
        page=pages.get(trial.night_id),
    )


def _night_lines(nights: Sequence[Night], trials: Sequence[Trial], pages: Mapping[str, str | None]) -> list[NightLine]:
    status_of = {trial.candidate_id: trial.status for trial in trials}
    lines, before = [], frozenset[str]()
    for night in nights:
        on_front = [point.candidate_id for point in night.front]
        told = night.model_dump(
            include={*("night_id", "begun_at", "ended_at", "hours", "spent_hours", "busy_share")}
            | {"hypervolume_before", "hypervolume"}
        )
        tried = Counter(status_of[name] for name in night.trials if name in status_of)
        new = tuple(name for name in on_front if name not in before)
        lines.append(
            NightLine(**told, tried=dict(sorted(tried.items())), new_points=new, page=pages.get(night.night_id))
        )
        before = frozenset(on_front) or before
    return lines


def _causes(trials: Iterable[Trial]) -> list[Cause]:
    """Reasons that differ in numbers and names alone are one; the trials are in the order of their times."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.status in _ENDED_BADLY:
            found.setdefault((trial.status, _VARYING.sub("#", trial.reason)), []).append(trial)
    causes = [
        Cause(status=status, reason=alike[-1].reason or "no reason was stated", count=len(alike), last_at=alike[-1].at)
        for (status, _), alike in found.items()
    ]
    return sorted(causes, key=lambda cause: (-cause.count, cause.status, cause.reason))


def _gap(best: Sequence[Trial]) -> Gap | None:
    """Between two neighbours of the front, the unpruned network among them where nothing beats it."""
    places = {(one.latency_ratio or 0.0, one.error_ratio or 0.0): one.candidate_id for one in best}
    places.setdefault((1.0, 1.0), "base")
    line = front(places)
    gaps = [
        Gap(
            faster=places[faster],
            better=places[better],
            latency_ratios=(faster[0], better[0]),
            error_ratios=(better[1], faster[1]),
            area=max(0.0, min(better[0], REFERENCE[1]) - faster[0])
            * max(0.0, min(faster[1], REFERENCE[0]) - better[1]),
        )
        for faster, better in pairwise(line)
    ]
    return max(gaps, key=lambda gap: gap.area, default=None)


def _what_was_gained(last: NightLine, without_gain: int) -> str:
    day, gained = f"{moment(last.begun_at):%Y-%m-%d}", _gained(last)
    if gained is None or last.hypervolume is None or last.hypervolume_before is None:
        return f"The last night, {day}, ended without a word on the front."
    if gained > GAINED:
        share = f" (+{100 * gained / last.hypervolume_before:.1f} %)" if last.hypervolume_before else ""
        return (
            f"The last night, {day}, helped: the hypervolume of the front rose from {last.hypervolume_before:.4f} to "
            f"{last.hypervolume:.4f}{share}, with {_count(len(last.new_points), 'new point')} on it."
        )
    row = "" if without_gain < 2 else f" That makes {without_gain} nights in a row."
    return f"The last night, {day}, did not help: the hypervolume of the front stayed at {last.hypervolume:.4f}.{row}"


def _what_changed_hands(last: NightLine, decisions: Sequence[Decision]) -> str:
    since = moment(last.begun_at)
    moved = {one.target: one for one in decisions if one.after != one.before and moment(one.at) >= since}
    if not moved:
        return " No target changed hands since it began."
    hands = (
        f"{one.target} runs {_named(one, one.after)}" + (f" instead of {one.before}" if one.before else "")
        for one in moved.values()
    )
    return f" Since it began: {shown('; '.join(hands))}."


def _named(decision: Decision, release_id: str) -> str:
    contender = _contender(decision, release_id)
    return release_id if contender is None else f"{release_id} ({contender.label})"


def _contender(decision: Decision, release_id: str) -> Contender | None:
    return next((one for one in decision.contenders if one.release_id == release_id), None)


def _what_failed(last: NightLine, trials: Sequence[Trial]) -> str:
    of_night = [trial for trial in trials if trial.night_id == last.night_id]
    total = sum(last.tried.values())
    if not total:
        return "It tried nothing."
    words = {"trained": "trained to the end", "stopped": "stopped early", "waiting": "left for a later night"}
    ends = ", ".join(f"{count} {words.get(status, status)}" for status, count in sorted(last.tried.items(), key=_worst))
    causes = _causes(of_night)
    most = f" Most often: {causes[0].status}, {_cut(causes[0].reason)}." if causes else ""
    return shown(f"Of {_count(total, 'candidate')} that it tried: {ends}.{most}")


def _worst(item: tuple[str, int]) -> int:
    return ("trained", "waiting", "stopped", "refused", "failed").index(item[0])


def _what_next(gap: Gap | None, best: Sequence[Trial]) -> str:
    if not best:
        return "To try next: nothing was trained to the end yet, so start with a few limits far apart."
    if gap is None:
        return (
            f"To try next: {best[0].label} beats all others, the unpruned network among them; try faster ones, and "
            "ones that err less."
        )
    macs = {one.candidate_id: one.macs for one in best}
    around = [macs[name] for name in (gap.faster, gap.better) if name in macs]
    labels = {one.candidate_id: one.label for one in best} | {"base": "the unpruned network"}
    near = (
        f"about {sqrt(around[0] * around[1]) / 1e9:.2g} GMAC"
        if len(around) == 2
        else f"{'more' if gap.faster in macs else 'fewer'} than {around[0] / 1e9:.2g} GMAC"
    )
    (fast, slow), (low, high) = gap.latency_ratios, gap.error_ratios
    return shown(
        f"To try next: {near}. The front has its largest gap between {labels[gap.faster]} (latency {fast:.2f}, error "
        f"{high:.2f}) and {labels[gap.better]} (latency {slow:.2f}, error {low:.2f})."
    )


def _target_line(memory: Memory, target: str) -> TargetLine:
    decisions = [one for one in memory.decisions if one.target == target]
    reigns = _reigns(decisions) if decisions else []  # devices may have measured what nobody has decided
    return TargetLine(target=target, reigns=tuple(reigns), decisions=tuple(decisions))


def _reigns(decisions: Sequence[Decision]) -> list[Reign]:
    """What a target ran, from one change to the next."""
    reigns: list[Reign] = []
    known: dict[str, Contender] = {}  # by release
    first = decisions[0]
    to_first = {first.before or first.after: 1.0}  # by release
    if first.before is not None:
        reigns.append(_reign(None, first.before, "", None, 1.0, "It ran before the first decision that is known."))
    for one in decisions:
        contender = _contender(one, one.after)
        known |= {found.release_id: found for found in one.contenders}
        ratio = None if contender is None else contender.latency_ratio
        if ratio is not None and one.before in to_first:
            to_first.setdefault(one.after, to_first[one.before] * ratio)
        if one.after != one.before:
            reign = _reign(one.at, one.after, one.kind, known.get(one.after), to_first.get(one.after), one.words)
            reigns.append(reign if contender else reign.model_copy(update=dict.fromkeys(_OF_THE_CHANGE)))
    return reigns


_OF_THE_CHANGE = ("latency_ratio", "latency_low", "latency_high")  # nobody compared the two where it is no contender


def _reign(
    since: str | None, release_id: str, kind: str, found: Contender | None, to_first: float | None, words: str
) -> Reign:
    return Reign(
        since=since,
        release_id=release_id,
        label=found and found.label,
        network_id=found and found.network_id,
        kind=kind,
        error=found and found.error,
        latency_ratio=found and found.latency_ratio,
        latency_low=found and found.latency_low,
        latency_high=found and found.latency_high,
        latency_to_first=to_first,
        words=words,
    )


def _cut(text: str, limit: int = 120) -> str:
    return text.rstrip(".") if len(text) <= limit else f"{text[:limit]}…"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
