"""The page of the fleet: what devices run and measure, who got slower, rejected a release, or is silent."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.device.documents.checks import time_of
from infra.device.documents.latency_report import FAILED, MEASURED, WRONG
from infra.device.shown import shown
from infra.fleet.findings import (
    FASTER,
    SLOWER,
    Running,
    Silent,
    doubted,
    rejected,
    releases_in_order,
    silent,
    verdict,
)
from infra.fleet.rows import Collected
from modnet.report.run_tables import Row
from tasks.fleet_plot import Point, latency_svg
from tasks.tables import html_document, html_table

MAX_RELEASES = 8  # in a table and a plot of one target: the newest
MAX_LINES = 12  # in a plot
MAX_ROWS = 100  # of a table
_MAX_TITLE = 300  # characters under the mouse
_STYLE = (
    ".tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}.tile{border:1px solid #ddd;border-radius:.4rem;"
    "padding:.5rem .9rem;min-width:7rem}.tile b{display:block;font-size:1.5rem}.bad b{color:#b00020}"
    "a{color:inherit}td:first-child{white-space:nowrap}td.slower,td.rejected{background:#fde7e9}td.faster{background:#e3f4e6}td.doubted{color:#666;"
    "font-style:italic}.legend{font-size:.8rem;color:#444}th.now{background:#eef3fb}h2{margin-top:2.2rem}"
)


@dataclass(frozen=True)
class Fleet:
    """What the page is of.

    Attributes:
        rows: all that count.
        running: what devices run.
        states: of each target, what becomes of its release, in words; empty where nobody here knows.
        enrolled: devices that have a key, and since when; empty where nobody here knows.
        quarantined_count: objects that were found among the reports and are none.
        now: when it is written.
        slower_by, silent_after: see `findings.verdict` and `findings.silent`.
    """

    rows: Sequence[Collected]
    running: Running
    states: Mapping[str, str]
    enrolled: Mapping[str, datetime]
    quarantined_count: int
    now: datetime
    slower_by: float
    silent_after: timedelta

    def silent(self) -> list[Silent]:
        """Devices that have not reported what they were to."""
        return silent(self.rows, self.running, self.enrolled, self.now, self.silent_after)

    def slower(self) -> list[Collected]:
        """Rows that are slower than the release before, newest first."""
        found = [row for row in self.rows if verdict(row, self.slower_by) == SLOWER]
        return sorted(found, key=lambda row: row.started_at, reverse=True)


def fleet_tables(fleet: Fleet) -> dict[str, list[Row]]:
    """Each table of the page by its title, the first of them by target."""
    return {
        "Targets": _target_rows(fleet),
        "Slower than the release before": [_comparison_row(row) for row in fleet.slower()],
        "Rejected releases": [_rejected_row(row) for row in rejected(fleet.rows)],
        "Silent devices": [_silent_row(one, fleet.now) for one in fleet.silent()],
        "Not to be trusted": [_doubted_row(row, doubts) for row, doubts in doubted(fleet.rows, fleet.now)],
    }


def fleet_lead(fleet: Fleet) -> str:
    """What there is, in one sentence."""
    counts = [len({getattr(row, name) for row in fleet.rows}) for name in ("device", "target", "release_id")]
    parts = (_count(len(fleet.rows), "report"), *map(_count, counts, ("device", "target", "release")))
    return "{} of {} on {} and {}".format(*parts)


def fleet_page(fleet: Fleet) -> bytes:
    """All of it as one page that loads nothing; whatever devices have written is escaped."""
    tables = fleet_tables(fleet)
    tiles = "".join(_tile(title, len(rows)) for title, rows in tables.items() if title != "Targets")
    lead = f"{fleet_lead(fleet)}, as of {fleet.now:%Y-%m-%d %H:%M} UTC."
    if fleet.quarantined_count:
        lead += f" {_count(fleet.quarantined_count, 'object')} among the reports were none: see quarantine/."
    parts = [f"<h1>Fleet</h1><p><b>{html.escape(lead)}</b></p><div class='tiles'>{tiles}</div>"]
    for title, rows in tables.items():
        more = f"<p>And {len(rows) - MAX_ROWS} more.</p>" if len(rows) > MAX_ROWS else ""
        table = html_table(rows[:MAX_ROWS]) if rows else "<p>None.</p>"
        parts.append(f"<h2 id='{_anchor(title)}'>{html.escape(title)}</h2>{table}{more}")
    parts += [_target_section(fleet, target) for target in sorted({row.target for row in fleet.rows})]
    parts.append(f"<p>{html.escape(_note(fleet))}</p>")
    return html_document("Fleet", "".join(parts), _STYLE)


def _note(fleet: Fleet) -> str:
    return (
        "Latencies are medians with their bootstrap interval, 95 %. A device compares two releases in turns, so that "
        f"both meet the same machine: slower is what surely takes more than {100 * fleet.slower_by:g} % longer, faster "
        "what surely takes less time. Silent is who has not reported on the release that it is to run for "
        f"{fleet.silent_after.total_seconds() / 3600:g} hours. A question that was answered twice counts once."
    )


def _tile(title: str, count: int) -> str:
    return f"<a class='tile{' bad' * bool(count)}' href='#{_anchor(title)}'><b>{count}</b>{html.escape(title)}</a>"


def _target_section(fleet: Fleet, target: str) -> str:
    """Plot and table of one target: devices by releases."""
    rows = [row for row in fleet.rows if row.target == target]
    releases = releases_in_order(rows)[-MAX_RELEASES:]
    of_device = lines_of(rows)
    lines = {name: points_of(releases, of_device[name]) for name in _chosen(fleet, of_device, releases)}
    plot = latency_svg(releases, lines) if any(lines.values()) else ""
    left_out = "" if len(of_device) <= MAX_LINES else f" {MAX_LINES} of {_count(len(of_device), 'line')} are drawn."
    pointer = fleet.running.pointers.get(target)
    current = None if pointer is None else pointer.release_id
    head = "".join(_head(release, release == current) for release in releases)
    body = "".join(
        f"<tr><td>{_escaped(name)}</td>{''.join(_cell(fleet, found.get(one)) for one in releases)}</tr>"
        for name, found in sorted(of_device.items())[:MAX_ROWS]
    )
    more = f"<p>And {len(of_device) - MAX_ROWS} more.</p>" if len(of_device) > MAX_ROWS else ""
    legend = (
        "Median in ms (interval). Red: slower than the release before, or rejected. Green: faster. "
        f"Hollow or italic: not to be trusted.{left_out}"
    )
    return (
        f"<h2>{_escaped(target)}</h2>{plot}<div><table><tr><th>device</th>{head}</tr>{body}</table></div>{more}"
        f"<p class='legend'>{html.escape(legend)}</p>"
    )


def lines_of(rows: Sequence[Collected]) -> dict[str, dict[str, Collected]]:
    """Rows of one target by device, and then by release; a device with several runtimes has a line for each."""
    of_device: dict[str, dict[str, Collected]] = {}
    are_several = Counter((row.device, row.release_id) for row in rows)
    has_several = {device for (device, _), count in are_several.items() if count > 1}
    for row in rows:
        name = f"{row.device}, {row.runtime}" if row.device in has_several else row.device
        of_device.setdefault(name, {})[row.release_id] = row
    return of_device


def _chosen(fleet: Fleet, of_device: Mapping[str, Mapping[str, Collected]], releases: Sequence[str]) -> list[str]:
    """The lines to draw: who got slower comes first, then who measured the newest release."""

    def weight(name: str) -> tuple[bool, bool, str]:
        found = of_device[name]
        is_slower = any(one in found and verdict(found[one], fleet.slower_by) == SLOWER for one in releases)
        return (not is_slower, releases[-1] not in found, name)

    return sorted(sorted(of_device, key=weight)[:MAX_LINES])


def points_of(releases: Sequence[str], found: Mapping[str, Collected]) -> list[Point]:
    """A line's points in the plot of latency: the releases that were measured."""
    points = []
    for column, release in enumerate(releases):
        row = found.get(release)
        if row is not None and row.p50_ms is not None:
            low, high = row.p50_low or row.p50_ms, row.p50_high or row.p50_ms
            points.append(Point(column, row.p50_ms, low, high, not row.is_trustworthy))
    return points


def _head(release: str, is_current: bool) -> str:
    return f"<th class='now'>{release}, runs now</th>" if is_current else f"<th>{release}</th>"


def _cell(fleet: Fleet, row: Collected | None) -> str:
    if row is None:
        return "<td></td>"
    if row.status != MEASURED:
        return f"<td class='rejected' title='{_escaped(str(row.reason)[:_MAX_TITLE])}'>{row.status}</td>"
    kind = verdict(row, fleet.slower_by) or ""
    kinds = f"{kind}{'' if row.is_trustworthy else ' doubted'}"
    said = f" title='{_escaped('; '.join(row.doubts)[:_MAX_TITLE])}'" if row.doubts else ""
    return f"<td class='{kinds}'{said}>{_latency(row)}</td>"


def _target_rows(fleet: Fleet) -> list[Row]:
    silent_at = Counter(one.target for one in fleet.silent())
    found = []
    for target in sorted({*fleet.running.pointers, *(row.target for row in fleet.rows)}):
        pointer = fleet.running.pointers.get(target)
        current = None if pointer is None else pointer.release_id
        of_current = [row for row in fleet.rows if row.target == target and row.release_id == current]
        status = Counter(row.status for row in of_current)
        verdicts = Counter(verdict(row, fleet.slower_by) for row in of_current)
        pinned = sum(one == target for one, _ in fleet.running.pins)
        row = {
            "target": target,
            "runs": current or "nothing",
            "state": fleet.states.get(target, ""),
            "since": "" if pointer is None else _time(pointer.moved_at),
            "before": "" if pointer is None else pointer.replaces or "none",
            "pinned": str(pinned),
            "measured": str(status[MEASURED]),
            "slower": str(verdicts[SLOWER]),
            "faster": str(verdicts[FASTER]),
            "rejected": str(status[FAILED] + status[WRONG]),
            "silent": str(silent_at[target]),
        }
        found.append({name: shown(cell) for name, cell in row.items()})
    return found


def _comparison_row(row: Collected) -> Row:
    assert row.comparison is not None
    of = row.comparison
    return {
        **_named(row),
        "before": of.release_id,
        "ratio of times": f"{of.ratio:.3f} ({of.ratio_low:.3f} to {of.ratio_high:.3f})",
        "rounds": str(of.rounds_count),
        "p50 ms": _latency(row),
        "when": _time(row.started_at),
    }


def _rejected_row(row: Collected) -> Row:
    return {**_named(row), "status": row.status, "reason": shown(row.reason), "when": _time(row.started_at)}


def _doubted_row(row: Collected, doubts: Sequence[str]) -> Row:
    return {**_named(row), "p50 ms": _latency(row), "why": shown("; ".join(doubts)), "when": _time(row.started_at)}


def _silent_row(one: Silent, now: datetime) -> Row:
    return {
        "device": shown(one.device),
        "target": shown(one.target or "any"),
        "awaited": one.release_id or "a first report",
        "for": _duration(now - one.since),
        "last reported": "never" if one.last is None else f"{_time(one.last.started_at)} on {one.last.release_id}",
    }


def _named(row: Collected) -> Row:
    found = {"device": row.device, "target": row.target, "release": row.release_id, "runtime": row.runtime}
    return {name: shown(cell) for name, cell in found.items()}


def _latency(row: Collected) -> str:
    if row.p50_ms is None:
        return ""
    interval = "" if row.p50_low is None else f" ({row.p50_low:.1f} to {row.p50_high:.1f})"
    return f"{row.p50_ms:.1f}{interval}"


def _duration(time: timedelta) -> str:
    hours = time.total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _time(text: str) -> str:
    return f"{time_of(text):%Y-%m-%d %H:%M}"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _escaped(text: object) -> str:
    return html.escape(shown(text), quote=True)
