"""The page of the history: did the last night help, what changed hands, and what should be tried next."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from infra.device.shown import shown
from infra.fleet.findings import releases_in_order
from infra.fleet.rows import Collected
from modnet.records import Decision, Trial
from modnet.report.run_tables import Row
from modnet.search.hypervolume import REFERENCE
from tasks.fleet_page import MAX_LINES, lines_of, points_of
from tasks.fleet_plot import Point, latency_svg
from tasks.history import Memory, moment
from tasks.history_form import BaseLine, Cause, FrontLine, History, NightLine, Reign, TargetLine
from tasks.history_plots import Column, Mark, bars_svg, front_svg, line_svg, steps_svg
from tasks.history_summary import GAINED
from tasks.tables import html_document, html_table, linked

MAX_ROWS = 30  # of a table on a terminal, and of what is left out
OPEN_ROWS = 10  # of a table on the page; a click opens the others
MAX_RELEASES = 20  # in the plot of devices: the newest
_MAX_SAID = 300  # characters under the mouse
_STYLE = (
    "h2{margin-top:2.4rem;border-top:1px solid #ddd;padding-top:1.2rem}h3{margin-top:1.6rem}.lead{font-size:1.1rem}"
    ".pair{display:flex;flex-wrap:wrap;gap:1rem;margin:.6rem 0}.pair svg{flex:1 1 22rem}"
    "td:first-child{white-space:nowrap}.lead p:first-child{font-weight:bold}"
    ".lead p{margin:.4rem 0}.legend{font-size:.8rem;color:#444}.wrong{background:#fff4e5;padding:.1rem 1rem}"
    "svg a{cursor:pointer}td{font-variant-numeric:tabular-nums}"
)
_EMPTY = (
    "No night has left anything in this store yet. Start one by `make nightly`, or start the deployment "
    "compress/nightly in Prefect's UI. It appears here when it has ended."
)

Line = TypeVar("Line")
Address = Callable[[str], str]
"""From the key of a page in the store to where a browser finds it."""


def history_page(memory: Memory, history: History, address: Address, now: datetime) -> bytes:
    """All of it as one page that loads nothing.

    Args:
        memory: what the store holds.
        history: what it comes to.
        address: of a page in the store.
        now: when the page is written, UTC.
    """
    parts = [f"<h1>History of nights</h1><p class='legend'>As of {now:%Y-%m-%d %H:%M} UTC.</p>"]
    if not history.bases:
        parts.append(f"<p><b>{html.escape(_EMPTY)}</b></p>")
    parts += [_lead(history.lead), _what_is_left_out(history)]
    for number, base in enumerate(history.bases):
        lead = "" if number == 0 else _lead(base.lead)  # that of the first stands above
        parts += [f"<h2>Base {html.escape(shown(base.base_id))}</h2>", lead, *_base_section(memory, base, address)]
    for target in history.targets:
        parts += _target_section(target, [row for row in memory.rows if row.target == target.target], now)
    return html_document("History of nights", "".join(parts), _STYLE)


def history_tables(history: History) -> dict[str, list[Row]]:
    """The tables of the page that fit a terminal, by their titles; without links."""
    tables: dict[str, list[Row]] = {}
    for base in history.bases:
        of = f", base {base.base_id}" if len(history.bases) > 1 else ""
        tables[f"Nights{of}"] = [_night_row(night, None) for night in _newest(base.nights)]
        tables[f"The front{of}"] = [_front_row(line, None) for line in base.front]
        if base.causes:
            tables[f"Not trained to the end{of}"] = [_cause_row(cause) for cause in base.causes[:MAX_ROWS]]
    for target in history.targets:
        tables[f"What {target.target} ran"] = [_reign_row(reign) for reign in _newest(target.reigns)]
    if history.left_out:
        tables["Left out"] = _left_out_rows(history)
    return tables


def _lead(sentences: Sequence[str]) -> str:
    return f"<div class='lead'>{''.join(f'<p>{html.escape(one)}</p>' for one in sentences)}</div>"


def _what_is_left_out(history: History) -> str:
    if not history.left_out:
        return ""
    title = f"Left out: {_count(len(history.left_out), 'record')} of the store that this version cannot read"
    more = len(history.left_out) - MAX_ROWS
    rest = f"<p>And {more} more.</p>" if more > 0 else ""
    table = html_table(_left_out_rows(history))
    return f"<details class='wrong'><summary>{html.escape(title)}</summary>{table}{rest}</details>"


def _left_out_rows(history: History) -> list[Row]:
    return [{"record": one.key, "why": one.reason} for one in history.left_out[:MAX_ROWS]]


def _base_section(memory: Memory, base: BaseLine, address: Address) -> list[str]:
    trials = [trial for trial in memory.trials if trial.base_id == base.base_id]
    nights = {night.night_id: night for night in base.nights}
    last = next((night.night_id for night in reversed(base.nights) if night.ended_at is not None), None)
    on_front = {line.candidate_id for line in base.front}
    marks = [
        Mark(
            x=trial.latency_ratio,
            y=trial.error_ratio,
            label=trial.label,
            said=_said(trial),
            kind="front" if trial.candidate_id in on_front else "beaten" if trial.status == "trained" else "ended",
            is_new=trial.night_id == last,
            address=_page_of(nights.get(trial.night_id), trial.candidate_id, address),
        )
        for trial in trials
        if trial.latency_ratio is not None and trial.error_ratio is not None
    ]
    parts = ["<h3>The front</h3>"]
    if marks:
        gap = None if base.gap is None else (base.gap.latency_ratios, base.gap.error_ratios)
        parts.append(front_svg(marks, (REFERENCE[1], REFERENCE[0]), gap))
        unplaced = len(trials) - len(marks)
        missing = f". {_count(unplaced, 'candidate')} without both figures cannot be drawn" if unplaced else ""
        parts.append(
            "<p class='legend'>Filled: no other is as good in both. Hollow: trained to the end, and beaten. Small and "
            "grey: stopped early, waiting or failed, where it was then. Orange ring: of the last night. Diamond: the "
            "unpruned network. Tinted: what the front beats, up to an error of "
            f"{REFERENCE[0]:g} and a latency of {REFERENCE[1]:g}; its area is the hypervolume. What lies beyond the "
            f"axes stands at their ends. A click opens the night's report{missing}.</p>"
        )
    parts.append(_folded([_front_row(line, address) for line in base.front]))
    if base.nights:
        parts += _nights_section(base, address)
    parts.append("<h3>Not trained to the end, and why</h3>")
    causes = base.causes[:MAX_ROWS]
    parts.append(html_table([_cause_row(cause) for cause in causes]) if causes else "<p>Nothing.</p>")
    return parts


def _nights_section(base: BaseLine, address: Address) -> list[str]:
    def column(night: NightLine, value: float | None, said: str, share: float | None = None) -> Column:
        day = f"{moment(night.begun_at):%Y-%m-%d}"
        return Column(day, value, share, f"{day}: {said}", _page_of(night, None, address))

    parts = ["<h3>Nights</h3><div class='pair'>"]
    if any(night.hypervolume is not None for night in base.nights):
        volumes = [
            column(one, one.hypervolume, f"hypervolume {_number(one.hypervolume, '.4f')}") for one in base.nights
        ]
        parts.append(line_svg("hypervolume of the front after each night", volumes))
    hours = [
        column(
            one,
            one.spent_hours,
            f"{one.spent_hours:.1f} h" + (f", cores busy {_share(one.busy_share)}" if one.busy_share else ""),
            one.busy_share,
        )
        for one in base.nights
    ]
    parts.append(bars_svg("hours spent; dark: the share in which cores trained", hours))
    parts.append(f"</div>{_folded([_night_row(night, address) for night in base.nights[::-1]])}")
    return parts


def _target_section(target: TargetLine, rows: Sequence[Collected], now: datetime) -> list[str]:
    runs = target.reigns[-1] if target.reigns else None
    parts = [f"<h2>What {html.escape(shown(target.target))} ran</h2>"]
    if runs is not None:
        since = "" if runs.since is None else f" since {_day(runs.since)}"
        label = "" if runs.label is None else f" ({runs.label})"
        parts.append(f"<p><b>{html.escape(shown(f'{runs.release_id}{label}{since}: {runs.words}'))}</b></p>")
        dated = [(moment(reign.since), reign) for reign in target.reigns if reign.since is not None]
        errors = [(time, reign.error) for time, reign in dated if reign.error is not None]
        latencies = [(time, reign.latency_to_first) for time, reign in dated if reign.latency_to_first is not None]
        parts.append("<div class='pair'>")
        if errors:
            parts.append(steps_svg("error on tune of what it ran", errors, now))
        if latencies:
            parts.append(steps_svg("latency of what it ran, times the first one's", latencies, now))
        parts.append(f"</div>{_folded([_reign_row(reign) for reign in target.reigns[::-1]])}")
    if lines := {name: points for name, points in _device_lines(rows).items() if points}:
        releases = releases_in_order(rows)[-MAX_RELEASES:]
        parts += [
            "<h3>Latency on devices, by release</h3>",
            latency_svg(releases, lines),
            "<p class='legend'>Median with its bootstrap interval, 95 %, in the order in which devices measured. "
            "Hollow: not to be trusted.</p>",
        ]
    parts.append(f"<h3>Decisions</h3>{_folded([_decision_row(one) for one in target.decisions[::-1]])}")
    return parts


def _folded(rows: Sequence[Row]) -> str:
    """The newest rows as a table, and a line that opens the others."""
    more = rows[OPEN_ROWS:]
    older = f"<details><summary>And {len(more)} more</summary>{html_table(more)}</details>" if more else ""
    return html_table(rows[:OPEN_ROWS]) + older


def _device_lines(rows: Sequence[Collected]) -> dict[str, list[Point]]:
    """The devices that measured the most releases, MAX_LINES of them."""
    releases = releases_in_order(rows)[-MAX_RELEASES:]
    lines = {name: points_of(releases, found) for name, found in lines_of(rows).items()}
    return dict(sorted(sorted(lines.items(), key=lambda line: (-len(line[1]), line[0]))[:MAX_LINES]))


def _front_row(line: FrontLine, address: Address | None) -> Row:
    where = None if address is None or line.page is None else _of_candidate(address(line.page), line.candidate_id)
    return {
        "candidate": shown(line.label),
        "error": f"{line.error_ratio:.3f}",
        "latency": f"{line.latency_ratio:.3f}",
        "GMAC": f"{line.macs / 1e9:.2f}",
        "parameters M": f"{line.parameters / 1e6:.3f}",
        "epochs": str(line.epochs),
        "id": linked(shown(line.candidate_id), where),
        "night": shown(line.night_id),
    }


def _night_row(night: NightLine, address: Address | None) -> Row:
    gained = None
    if night.hypervolume is not None and night.hypervolume_before is not None:
        gained = night.hypervolume - night.hypervolume_before
    where = None if address is None else _page_of(night, None, address)
    return {
        "night": linked(shown(night.night_id), where),
        "hypervolume": _number(night.hypervolume, ".4f"),
        "gained": "nothing" if gained is not None and gained <= GAINED else _number(gained, "+.4f"),
        "new on the front": str(len(night.new_points)),
        "tried": ", ".join(f"{count} {status}" for status, count in night.tried.items()) or "nothing",
        "hours given": _number(night.hours, ".1f") or "a list",
        "hours spent": f"{night.spent_hours:.1f}",
        "cores busy": _share(night.busy_share),
        "ended": "under way, or killed" if night.ended_at is None else f"{moment(night.ended_at):%H:%M}",
    }


def _cause_row(cause: Cause) -> Row:
    return {
        "count": str(cause.count),
        "ended as": cause.status,
        "why, of the last one": shown(cause.reason),
        "last": _day(cause.last_at),
    }


def _reign_row(reign: Reign) -> Row:
    interval = (
        ""
        if reign.latency_low is None or reign.latency_high is None
        else (f" ({reign.latency_low:.3f} to {reign.latency_high:.3f})")
    )
    row = {
        "since": "" if reign.since is None else _day(reign.since),
        "release": reign.release_id,
        "candidate": reign.label or "",
        "came by": reign.kind,
        "error": _number(reign.error, ".5f"),
        "latency by the one before": _number(reign.latency_ratio, ".3f") + interval,
        "by the first": _number(reign.latency_to_first, ".3f"),
        "why": reign.words,
    }
    return {name: shown(cell) for name, cell in row.items()}


def _decision_row(decision: Decision) -> Row:
    row = {
        "when": _day(decision.at),
        "became": decision.kind,
        "runs": decision.after,
        "before": decision.before or "none",
        "by": decision.by,
        "why": decision.words,
    }
    return {name: shown(cell) for name, cell in row.items()}


def _said(trial: Trial) -> str:
    ended = trial.status if not trial.reason else f"{trial.status}: {trial.reason}"
    return (
        f"{trial.label} ({trial.candidate_id}): error {trial.error_ratio:.3f}, latency {trial.latency_ratio:.3f}, "
        f"{trial.macs / 1e9:.2f} GMAC, {_count(trial.epochs, 'epoch')}, night {trial.night_id}, {ended}"
    )[:_MAX_SAID]


def _page_of(night: NightLine | None, candidate_id: str | None, address: Address) -> str | None:
    if night is None or night.page is None:
        return None
    return address(night.page) if candidate_id is None else _of_candidate(address(night.page), candidate_id)


def _of_candidate(address: str, candidate_id: str) -> str:
    """Browsers go to where this text stands first, and mark it."""
    return f"{address}#:~:text={candidate_id}"


def _newest(lines: Sequence[Line]) -> list[Line]:
    return list(lines[::-1][:MAX_ROWS])


def _day(text: str) -> str:
    return f"{moment(text):%Y-%m-%d %H:%M}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None, digits: str) -> str:
    return "" if value is None else format(value, digits)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
