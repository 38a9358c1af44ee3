"""Plots of the history as SVG elements: a point says what it is under the mouse, and leads to its night's report."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from infra.device.shown import shown
from tasks.fleet_plot import COLOURS, even_ticks, svg_text

BLUE, ORANGE, GREEN = COLOURS[:3]
GREY = "#999"
_WIDTH, _HALF = 1000, 490  # of a plot alone, and of one beside another
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 24, 44  # margins
_CHARACTER, _LINE_HEIGHT = 6.2, 13  # of a small text, about
_DATE_WIDTH = 90  # of a night's date below its column

_Scale = Callable[[float], float]


@dataclass(frozen=True)
class Mark:
    """One candidate in the plot of errors and latencies.

    Attributes:
        x: latency, y: error, both as multiples of the base's.
        label: beside it, and under the mouse; `said` under the mouse alone.
        kind: `front`, `beaten` (trained to the end, but another is better), or `ended` (stopped, waiting or failed).
        is_new: of the last night.
        address: where a click leads; None: nowhere.
    """

    x: float
    y: float
    label: str
    said: str
    kind: str
    is_new: bool
    address: str | None


def front_svg(
    marks: Sequence[Mark], reference: tuple[float, float], gap: tuple[tuple[float, float], tuple[float, float]] | None
) -> str:
    """Errors against latencies, the base among them; what the front beats is tinted, its largest gap is dashed.

    Args:
        marks: any number. The axes hold those that were trained to the end; what lies beyond stands at the edge.
        reference: latency and error, where the tinted area ends.
        gap: its latencies and its errors, each from low to high.
    """
    height = 460
    front = sorted((mark.x, mark.y) for mark in marks if mark.kind == "front")
    inside = [(1.0, 1.0), *((mark.x, mark.y) for mark in marks if mark.kind != "ended")]
    right, top = (min(1.04 * max(place[axis] for place in inside), 1.5 * reference[axis]) + 0.02 for axis in (0, 1))
    left, low = (0.95 * min(place[axis] for place in inside) for axis in (0, 1))

    def x(latency: float) -> float:
        return _LEFT + (max(min(latency, right), left) - left) * (_WIDTH - _LEFT - _RIGHT) / (right - left)

    def y(error: float) -> float:
        return height - _BOTTOM - (max(min(error, top), low) - low) * (height - _TOP - _BOTTOM) / (top - low)

    parts = [_upright(x(one), height, f"{one:g}") for one in even_ticks(left, right)]
    parts += [_level(y(one), f"{one:g}", _WIDTH) for one in even_ticks(low, top)]
    parts.append(svg_text(_WIDTH - _RIGHT, height - 8, "latency, times the base's", "end"))
    parts.append(svg_text(4, 14, "error, times the base's", "start"))
    stairs = [(one, two) for one, two in front if one < reference[0] and two < reference[1]]
    if stairs:
        parts.append(_stairs(stairs, reference, x, y))
    if gap is not None:
        (fast, slow), (good, bad) = gap
        box = f"x='{x(fast):.1f}' y='{y(bad):.1f}' width='{x(slow) - x(fast):.1f}' height='{y(good) - y(bad):.1f}'"
        parts.append(
            f"<rect {box} fill='none' stroke='{ORANGE}' stroke-dasharray='4 3'><title>The largest gap</title></rect>"
        )
        parts.append(svg_text((x(fast) + x(slow)) / 2, (y(good) + y(bad)) / 2 + 4, "largest gap", "middle", ORANGE))
    order = {"ended": 0, "beaten": 1, "front": 2}
    for mark in sorted(marks, key=lambda one: (order[one.kind], one.is_new)):
        parts.append(_dot(mark, x(mark.x), y(mark.y), is_beyond=not (left <= mark.x <= right and low <= mark.y <= top)))
    base = (x(1.0), y(1.0))
    parts.append(
        f"<path d='M{base[0]:.1f},{base[1] - 6:.1f} l6,6 l-6,6 l-6,-6 z'><title>The unpruned network</title></path>"
    )
    taken = [(base[0] - 8, base[1] - 8, base[0] + 8, base[1] + 8), *(_box(x(m.x) - 5, y(m.y) + 4, 10) for m in marks)]
    parts += _labels(
        [(base[0], base[1], "base"), *((x(m.x), y(m.y), m.label) for m in marks if m.kind == "front")], taken
    )
    return _svg(f"Errors and latencies of {len(marks)} candidates", _WIDTH, height, parts)


def _stairs(stairs: Sequence[tuple[float, float]], reference: tuple[float, float], x: _Scale, y: _Scale) -> str:
    corners = [(stairs[0][0], reference[1])]
    for (latency, error), after in zip(stairs, [*stairs[1:], (reference[0], 0.0)], strict=True):
        corners += [(latency, error), (after[0], error)]
    corners.append((reference[0], reference[1]))
    path = " ".join(f"{x(one):.1f},{y(two):.1f}" for one, two in corners)
    return f"<polygon points='{path}' fill='{BLUE}' fill-opacity='.09'/>"


def _dot(mark: Mark, x: float, y: float, *, is_beyond: bool) -> str:
    radius = {"front": 5.5, "beaten": 4.0, "ended": 2.5}[mark.kind]
    colour = GREY if mark.kind == "ended" else BLUE
    fill = colour if mark.kind == "front" and not is_beyond else "#fff"
    if mark.kind == "ended" and not is_beyond:
        fill = "#ccc"
    ring = f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius + 3.5}' fill='none' stroke='{ORANGE}' stroke-width='2'/>"
    dot = f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius}' fill='{fill}' stroke='{colour}'/>"
    said = f"<title>{_escaped(mark.said)}</title>"
    group = f"<g>{said}{ring if mark.is_new else ''}{dot}</g>"
    return group if mark.address is None else f"<a href='{html.escape(mark.address, quote=True)}'>{group}</a>"


def _labels(wanted: Sequence[tuple[float, float, str]], taken: list[tuple[float, float, float, float]]) -> list[str]:
    """Labels beside their points, on the side that is free; where none is, the mouse alone says it."""
    parts = []
    for x, y, label in wanted:
        width = _CHARACTER * len(label)
        for left, baseline in ((x + 9, y - 6), (x + 9, y + 14), (x - 9 - width, y - 6), (x - 9 - width, y + 14)):
            box = _box(left, baseline, width)
            is_inside = left > _LEFT and left + width < _WIDTH
            if is_inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(svg_text(left, baseline, label, "start"))
                break
    return parts


def _box(left: float, baseline: float, width: float) -> tuple[float, float, float, float]:
    return (left, baseline - _LINE_HEIGHT + 3, left + width, baseline + 3)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@dataclass(frozen=True)
class Column:
    """One night in a plot over nights.

    Attributes:
        date: below it.
        value: its height; None: it has none.
        share: of the height that is filled dark, 0 to 1; None: nobody knows.
        said: under the mouse.
        address: where a click leads; None: nowhere.
    """

    date: str
    value: float | None
    share: float | None
    said: str
    address: str | None


def line_svg(title: str, columns: Sequence[Column]) -> str:
    """A line over nights, with a point for each that has a value."""
    values = [column.value for column in columns if column.value is not None]
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.005)
    axes = _Axes(len(columns), max(0.0, low - room), high + room)
    places = [(axes.x(number), axes.y(one.value), one) for number, one in enumerate(columns) if one.value is not None]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    parts = [*axes.drawn(columns, title), f"<polyline fill='none' stroke='{BLUE}' stroke-width='1.5' points='{path}'/>"]
    parts += [_linked(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{BLUE}'/>", one) for x, y, one in places]
    return _svg(title, _HALF, _Axes.height, parts)


def bars_svg(title: str, columns: Sequence[Column]) -> str:
    """A bar for each night, dark as far as its share goes."""
    high = max((column.value or 0.0 for column in columns), default=0.0) or 1.0
    axes = _Axes(len(columns), 0.0, 1.08 * high)
    wide = min(40.0, 0.7 * axes.step)
    parts = axes.drawn(columns, title)
    for number, column in enumerate(columns):
        if column.value is not None:
            left, top, bottom = axes.x(number) - wide / 2, axes.y(column.value), axes.y(0.0)
            dark = (column.share or 0.0) * (bottom - top)
            drawn = (
                f"<rect x='{left:.1f}' y='{top:.1f}' width='{wide:.1f}' height='{bottom - top:.1f}' fill='#cfe2f3'/>"
                f"<rect x='{left:.1f}' y='{bottom - dark:.1f}' width='{wide:.1f}' height='{dark:.1f}' fill='{BLUE}'/>"
            )
            parts.append(_linked(drawn, column))
    return _svg(title, _HALF, _Axes.height, parts)


class _Axes:
    """Nights from left to right, values from below."""

    height = 220
    width = _HALF

    def __init__(self, count: int, bottom: float, top: float) -> None:
        self.step = (self.width - _LEFT - _RIGHT) / count
        self._bottom, self._top = bottom, top

    def x(self, number: int) -> float:
        return _LEFT + (number + 0.5) * self.step

    def y(self, value: float) -> float:
        share = (value - self._bottom) / (self._top - self._bottom)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def drawn(self, columns: Sequence[Column], title: str) -> list[str]:
        parts = [_level(self.y(one), f"{one:g}", self.width) for one in even_ticks(self._bottom, self._top)]
        every = math.ceil(_DATE_WIDTH / self.step)
        for number in range(len(columns) - 1, -1, -every):  # the newest always
            parts.append(svg_text(self.x(number), self.height - _BOTTOM + 18, columns[number].date, "middle"))
        parts.append(svg_text(4, 14, title, "start"))
        return parts


def steps_svg(title: str, points: Sequence[tuple[datetime, float]], until: datetime) -> str:
    """A line that keeps its value until the next point, over time.

    Args:
        title: of the values.
        points: times and values, oldest first; at least one.
        until: where the line ends.
    """
    until = max(until, points[-1][0])  # whose clock was ahead
    begin, values = points[0][0], [value for _, value in points]
    span = max((until - begin).total_seconds(), 1.0)
    low, high = min(values), max(values)
    room = max(0.1 * (high - low), 0.05 * high, 1e-9)
    axes = _Axes(1, max(0.0, low - room), high + room)

    def x(time: datetime) -> float:
        return _LEFT + (time - begin).total_seconds() / span * (_HALF - _LEFT - _RIGHT)

    parts = [*axes.drawn([], title)]
    for time, side in ((begin, "start"), (until, "end")):
        parts.append(svg_text(x(time), _Axes.height - _BOTTOM + 18, f"{time:%Y-%m-%d}", side))
    ends = [*(time for time, _ in points[1:]), until]
    path = " ".join(
        f"{x(time):.1f},{axes.y(value):.1f} {x(end):.1f},{axes.y(value):.1f}"
        for (time, value), end in zip(points, ends, strict=True)
    )
    parts.append(f"<polyline fill='none' stroke='{BLUE}' stroke-width='2' points='{path}'/>")
    for time, value in points:
        said = f"<title>{_escaped(f'from {time:%Y-%m-%d %H:%M}: {value:.4g}')}</title>"
        parts.append(f"<circle cx='{x(time):.1f}' cy='{axes.y(value):.1f}' r='4' fill='{BLUE}'>{said}</circle>")
    return _svg(title, _HALF, _Axes.height, parts)


def _linked(drawn: str, column: Column) -> str:
    group = f"<g><title>{_escaped(column.said)}</title>{drawn}</g>"
    return group if column.address is None else f"<a href='{html.escape(column.address, quote=True)}'>{group}</a>"


def _level(y: float, text: str, width: int) -> str:
    line = f"<line x1='{_LEFT}' x2='{width - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#ddd'/>"
    return line + svg_text(_LEFT - 6, y + 4, text, "end")


def _upright(x: float, height: int, text: str) -> str:
    line = f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP}' y2='{height - _BOTTOM}' stroke='#eee'/>"
    return line + svg_text(x, height - _BOTTOM + 16, text, "middle")


def _svg(described: str, width: int, height: int, parts: Sequence[str]) -> str:
    size = f"viewBox='0 0 {width} {height}' style='width:100%;max-width:{width}px'"
    label = html.escape(described, quote=True)
    return f"<svg xmlns='http://www.w3.org/2000/svg' role='img' aria-label='{label}' {size}>{''.join(parts)}</svg>"


def _escaped(text: str) -> str:
    return html.escape(shown(text))
