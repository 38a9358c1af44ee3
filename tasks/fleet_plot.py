"""Latency over releases as a small SVG: one line a device, and an interval at each point."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.device.shown import shown

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _HEIGHT = 1000, 320
_LEAST_MS = 1e-6  # drawn of a latency: a report may say the smallest number that there is
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 190, 12, 44  # margins; on the right stand the names
_LINE_HEIGHT = 14
_NAME_WIDTH = 90  # of a release


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        column: of its release, from 0.
        low, high: the interval; equal to `ms` where there is none.
        is_doubted: drawn hollow.
    """

    column: int
    ms: float
    low: float
    high: float
    is_doubted: bool


def latency_svg(releases: Sequence[str], lines: Mapping[str, Sequence[Point]]) -> str:
    """Lines over releases, each named at its end; the scale of milliseconds is logarithmic, so that ratios compare.

    Args:
        releases: names of the columns, oldest first; at least one.
        lines: name of a device -> its points in the order of their columns; at least one point in all.
    """
    points = [point for line in lines.values() for point in line]
    bottom = max(min(one.low for one in points), _LEAST_MS) / 1.05
    top = max(*(one.high for one in points), _LEAST_MS) * 1.05

    def x(column: int) -> float:
        return _LEFT + (column + 0.5) * (_WIDTH - _LEFT - _RIGHT) / len(releases)

    def y(ms: float) -> float:
        share = (math.log(max(ms, bottom)) - math.log(bottom)) / (math.log(top) - math.log(bottom))
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_grid(ms, y(ms)) for ms in _ticks(bottom, top)]
    every = math.ceil(len(releases) * _NAME_WIDTH / (_WIDTH - _LEFT - _RIGHT))
    shown_columns = range(len(releases) - 1, -1, -every)  # the newest always
    parts += [svg_text(x(column), _HEIGHT - _BOTTOM + 18, releases[column], "middle") for column in shown_columns]
    parts.append(svg_text(4, _TOP + 4, "ms", "start"))
    ends = []
    for number, (name, line) in enumerate(lines.items()):
        if line:
            colour = COLOURS[number % len(COLOURS)]
            dash = " stroke-dasharray='5 3'" if number >= len(COLOURS) else ""
            path = " ".join(f"{x(one.column):.1f},{y(one.ms):.1f}" for one in line)
            parts.append(f"<polyline fill='none' stroke='{colour}' stroke-width='1.5'{dash} points='{path}'/>")
            parts += [_mark(x(one.column), y(one.ms), y(one.low), y(one.high), colour, name, one) for one in line]
            ends.append((y(line[-1].ms), name, colour))
    parts += _names(ends)
    described = html.escape(f"Latency of {len(ends)} devices over {len(releases)} releases", quote=True)
    size = f"viewBox='0 0 {_WIDTH} {_HEIGHT}' style='width:100%;max-width:{_WIDTH}px'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' role='img' aria-label='{described}' {size}>{''.join(parts)}</svg>"


def _mark(x: float, y: float, low: float, high: float, colour: str, name: str, point: Point) -> str:
    """A point, its interval, and what is said when a mouse rests on it."""
    fill = "#fff" if point.is_doubted else colour
    said = f"{name}: {point.ms:.4g} ms ({point.low:.4g} to {point.high:.4g})"
    if point.is_doubted:
        said += ", not to be trusted"
    return (
        f"<g stroke='{colour}'><title>{_escaped(said)}</title><line x1='{x:.1f}' x2='{x:.1f}' y1='{low:.1f}' "
        f"y2='{high:.1f}'/><circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{fill}'/></g>"
    )


def _names(ends: list[tuple[float, str, str]]) -> list[str]:
    """Names at the ends of their lines, moved apart where they would cover each other."""
    parts, free = [], float(_TOP)
    for y, name, colour in sorted(ends):
        free = max(free, y)
        parts.append(svg_text(_WIDTH - _RIGHT + 8, free + 4, name, "start", colour))
        free += _LINE_HEIGHT
    return parts


def _grid(ms: float, y: float) -> str:
    line = f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#ddd'/>"
    return line + svg_text(_LEFT - 6, y + 4, f"{ms:g}", "end")


def _ticks(bottom: float, top: float) -> list[float]:
    """Round numbers between two: even ones, or powers of ten with twos and fives where the two are far apart."""
    if top / bottom < 8:
        return even_ticks(bottom, top)
    round_ones = (round(10.0**power * digit, 9) for power in range(-6, 10) for digit in (1, 2, 5))
    return [one for one in round_ones if bottom <= one <= top]


def even_ticks(bottom: float, top: float) -> list[float]:
    """At most about eight round numbers between two, as far apart from each other."""
    step: float
    for step in (10.0**power * digit for power in range(-6, 10) for digit in (1, 2, 5)):
        if (top - bottom) / step <= 8:
            break
    return [round(number * step, 9) for number in range(math.ceil(bottom / step), math.floor(top / step) + 1)]


def svg_text(x: float, y: float, text: str, anchor: str, colour: str = "#444") -> str:
    """A small text as an element of an SVG; `anchor` is `start`, `middle` or `end`."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='11' text-anchor='{anchor}' fill='{colour}'>{_escaped(text)}</text>"
    )


def _escaped(text: str) -> str:
    return html.escape(shown(text))
