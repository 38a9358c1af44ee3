"""Which computation of a run was where, when, for how long, and how it ended: a table of its flow run, and a picture.

A row is made where a computation is asked for (`tasks.on_ray`). Rows of subflows stand in the table of the run that
started them. The table is drawn anew whenever a row changes, so that a killed run has one too.
"""

from __future__ import annotations

import html
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from infra.device.shown import shown
from modnet.report.run_tables import Row
from tasks.fleet_plot import svg_text

KEY = "timeline"  # of the artifact
DONE, FOUND, UNDER_WAY = "done", "found in the store", "under way"
_DESCRIPTION = "Which computation was where, when, and how it ended. Times are UTC."
_MOST_SHOWN = 300  # rows of the artifact, the newest; the page of the run has all
_DRAWN_WITHIN_S = 5.0
_REASON = 300  # characters

_WIDTH, _LEFT, _RIGHT, _TOP, _LINE = 1000, 190, 250, 20, 16  # of the picture; names on the left, words on the right
_MOST_LINES = 60
_WAITING, _COLOURS = "#ccc", {DONE: "#0072b2", UNDER_WAY: "#e69f00"}  # Okabe and Ito's, as in the page of the fleet
_FAILED = "#d55e00"


@dataclass
class Computation:
    """One try of one computation.

    Attributes:
        stage: the flow that asked for it.
        number: of the try, from 1; 0 where nothing was computed.
        place: `host at address (pid 7)`; empty while it waits for a node.
        began_at: when a node had taken it.
        end: DONE, FOUND, UNDER_WAY, or what it failed by.
    """

    name: str
    stage: str
    number: int
    asked_at: datetime
    place: str = ""
    began_at: datetime | None = None
    ended_at: datetime | None = None
    end: str = UNDER_WAY


class Timeline:
    """The computations of one run; many threads write to it. `draw` shows the rows and may raise whatever it likes."""

    def __init__(self, draw: Callable[[list[Row]], None]) -> None:
        self._draw = draw
        self._lock = threading.Lock()
        self._computations: list[Computation] = []
        self._is_drawn = True
        self._drawing: threading.Thread | None = None
        self._is_late = self._has_failed = False

    def found(self, name: str, stage: str) -> None:
        """Adds a computation whose answer was in the store."""
        now = datetime.now(UTC)
        with self._lock:
            self._computations.append(Computation(name, stage, 0, now, ended_at=now, end=FOUND))
        self._redraw()

    @contextmanager
    def computing(self, name: str, stage: str) -> Iterator[Callable[[str], None]]:
        """Adds a computation that takes as long as the block; yields what is told the place once it is known."""
        with self._lock:
            number = 1 + sum(one.name == name and one.number > 0 for one in self._computations)
            one = Computation(name, stage, number, datetime.now(UTC))
            self._computations.append(one)

        def began(place: str) -> None:
            one.place, one.began_at = place, datetime.now(UTC)
            self._redraw()

        end = DONE
        try:
            yield began
        except BaseException as error:
            end = shown(f"{type(error).__name__}: {error}")[:_REASON]
            raise
        finally:
            one.ended_at, one.end = datetime.now(UTC), end
            drawing = self._redraw()
            if not self._is_late:  # so that the last rows of a process are seen; who does not answer holds up once
                drawing.join(_DRAWN_WITHIN_S)
                self._is_late = drawing.is_alive()

    def rows(self) -> list[Row]:
        """The table, in the order in which computations were asked for."""
        with self._lock:
            return _rows(self._computations)

    def picture(self) -> str | None:
        """The computations as an SVG; None where nothing was computed."""
        with self._lock:
            computed = [one for one in self._computations if one.number]
            return _svg(computed) if computed else None

    def _redraw(self) -> threading.Thread:
        """The thread that draws the rows as they are now. The context tells Prefect's client which server it asks."""
        with self._lock:
            self._is_drawn = False
            if self._drawing is None:
                work = copy_context().run
                self._drawing = threading.Thread(target=work, args=(self._draw_all,), name=KEY, daemon=True)
                self._drawing.start()
            return self._drawing

    def _draw_all(self) -> None:
        while True:
            with self._lock:
                if self._is_drawn:
                    self._drawing = None
                    return
                self._is_drawn = True
                rows = _rows(self._computations)
            try:
                self._draw(rows)
                self._is_late = self._has_failed = False
            except Exception as error:  # Prefect's client and server fail in many ways: none is ours
                if not self._has_failed:
                    self._has_failed = True
                    problem = f"{type(error).__name__}: {shown(error)}"
                    get_run_logger().warning("the timeline cannot be shown, the work goes on: %s", problem)


_lock = threading.Lock()
_timelines: dict[str, Timeline] = {}  # by the flow run that they are of
_roots: dict[str, str] = {}  # flow run -> the one that started it, or that one's


def this_timeline() -> Timeline:
    """That of the run which this flow or task belongs to."""
    run_id = this_run()
    with _lock:
        if run_id not in _timelines:
            _timelines[run_id] = Timeline(_Artifact(run_id).draw)
        return _timelines[run_id]


def this_stage() -> str:
    """Name of the flow that this is called in."""
    context = FlowRunContext.get()
    return "" if context is None or context.flow is None else context.flow.name


def this_run() -> str:
    """The flow run that this process was started for; without that, Prefect is asked who started whom."""
    run_id = str(flow_run.id)
    if (started_for := os.environ.get("PREFECT__FLOW_RUN_ID")) is not None:
        return started_for
    with _lock:
        if run_id not in _roots:
            try:
                _roots[run_id] = str(flow_run.root_flow_run_id)
            except Exception as error:  # as with drawing
                _roots[run_id] = run_id
                get_run_logger().warning("whose subflow this is, is not known: %s", shown(error))
        return _roots[run_id]


class _Artifact:
    """The table of one flow run in Prefect: one artifact, made once."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._id: UUID | None = None

    def draw(self, rows: list[Row]) -> None:
        """Replaces what it shows."""
        data = json.dumps(rows[-_MOST_SHOWN:])
        with get_client(sync_client=True) as client:
            if self._id is None:
                artifact = ArtifactCreate(
                    key=KEY, type="table", description=_DESCRIPTION, data=data, flow_run_id=UUID(self._run_id)
                )
                self._id = client.create_artifact(artifact).id
            else:
                client.update_artifact(self._id, ArtifactUpdate(data=data))


def _rows(computations: Sequence[Computation]) -> list[Row]:
    last = {one.name: one.number for one in computations}
    return [
        {
            "computation": shown(one.name),
            "stage": shown(one.stage),
            "try": str(one.number or ""),
            "where": shown(one.place),
            "asked for": f"{one.asked_at:%Y-%m-%d %H:%M:%S}",
            "waited": "" if one.began_at is None else _time(one.began_at - one.asked_at),
            "took": "" if one.began_at is None or one.ended_at is None else _time(one.ended_at - one.began_at),
            "how it ended": f"{one.end}; tried again" if one.number and last[one.name] > one.number else one.end,
        }
        for one in computations
    ]


def _time(passed: timedelta) -> str:
    """`0:00:07`."""
    return str(timedelta(seconds=round(passed.total_seconds())))


def _svg(computations: Sequence[Computation]) -> str:
    """A line for each computation: grey while it waited for a node, then in colour; times are UTC."""
    now = datetime.now(UTC)
    first = min(one.asked_at for one in computations)
    total_s = max(1.0, max(((one.ended_at or now) - first).total_seconds() for one in computations))
    longest = sorted(computations, key=lambda one: one.asked_at - (one.ended_at or now))[:_MOST_LINES]
    lines = [one for one in computations if one in longest]

    def x(at: datetime) -> float:
        return _LEFT + (at - first).total_seconds() / total_s * (_WIDTH - _LEFT - _RIGHT)

    bottom = _TOP + _LINE * len(lines)
    parts = []
    for quarter in range(5):
        at = first + timedelta(seconds=total_s * quarter / 4)
        parts.append(f"<line x1='{x(at):.1f}' x2='{x(at):.1f}' y1='{_TOP - 4}' y2='{bottom}' stroke='#ddd'/>")
        parts.append(svg_text(x(at), 12, f"{at:%H:%M:%S}", "middle"))
    for number, one in enumerate(lines):
        y, ended_at = _TOP + _LINE * number, one.ended_at or now
        began_at = one.began_at or ended_at
        words = f"{_time(ended_at - began_at)} {one.place}" if one.place else "waited"
        said = f"{one.name}, try {one.number}, {words}: {one.end}"
        bars = ((one.asked_at, began_at, _WAITING), (began_at, ended_at, _COLOURS.get(one.end, _FAILED)))
        parts.append(f"<g><title>{html.escape(shown(said))}</title>")
        for start, end, colour in bars:
            width = max(x(end) - x(start), 1.0 if colour != _WAITING else 0.0)
            parts.append(f"<rect x='{x(start):.1f}' y='{y + 2}' width='{width:.1f}' height='11' fill='{colour}'/>")
        parts.append(svg_text(_LEFT - 6, y + 12, one.name if one.number == 1 else f"{one.name} #{one.number}", "end"))
        parts.append(f"{svg_text(_WIDTH - _RIGHT + 8, y + 12, words, 'start')}</g>")
    if len(lines) < len(computations):
        bottom += _LINE
        left_out = f"and {len(computations) - len(lines)} shorter ones, which the table has"
        parts.append(svg_text(_LEFT, bottom - 4, left_out, "start"))
    size = f"viewBox='0 0 {_WIDTH} {bottom + 4}' style='width:100%;max-width:{_WIDTH}px'"
    named = "aria-label='When each computation ran'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' role='img' {named} {size}>{''.join(parts)}</svg>"
