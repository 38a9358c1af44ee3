"""Asynchronous successive halving (ASHA, arXiv 1810.05934) over two objectives.

Every candidate trains to the first rung, a few epochs. Of those that have reached a rung, the best share goes on to the
next one, which has several times the epochs. Nobody waits for a rung to fill: whenever a worker is free, the best one
that may go on does, and else a new candidate begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modnet.search.hypervolume import Point, front


@dataclass(frozen=True)
class Reached:
    """What a candidate came to at the rungs that it has reached.

    Attributes:
        latency: as a multiple of the base's.
        errors: as multiples of the base's, one for each rung, from the first on.
    """

    latency: float
    errors: tuple[float, ...] = ()


def rung_epochs(epochs: int, reduction: int, first: int) -> tuple[int, ...]:
    """Epochs at which candidates are compared, the last of them all `epochs`.

    Args:
        epochs: of a whole training.
        reduction: each rung has so many times the epochs of the one before; the last step may be shorter.
        first: epochs of the first rung.
    """
    rungs = [min(first, epochs)]
    while rungs[-1] < epochs:
        rungs.append(min(epochs, reduction * rungs[-1]))
    return tuple(rungs)


def ranked(points: Mapping[str, Point]) -> list[str]:
    """Names from the best on: by how many fronts lie before theirs, then the loneliest on its front first.

    The two ends of a front are the loneliest. What is equal then stands in the order of its name.
    """
    order: list[str] = []
    left = dict(points)
    while left:
        best = front(left.values())
        on_it = {name: point for name, point in left.items() if point in best}
        distances = _crowding_distances(on_it)
        order += sorted(on_it, key=lambda name: (-distances[name], name))
        left = {name: point for name, point in left.items() if name not in on_it}
    return order


def may_go_on(reached: Mapping[str, Reached], rung: int, reduction: int) -> list[str]:
    """The best share of those that have reached a rung, from the best on, whether they have gone on or not."""
    points = {name: (one.errors[rung], one.latency) for name, one in reached.items() if len(one.errors) > rung}
    return ranked(points)[: len(points) // reduction]


def next_to_go_on(
    reached: Mapping[str, Reached], rung_count: int, reduction: int, under_way: Sequence[str] = ()
) -> str | None:
    """The candidate that trains on, from the highest rung that has one; None: a new candidate is to begin.

    Args:
        reached: by candidate_id.
        rung_count: of a whole training.
        reduction: one of so many goes on.
        under_way: candidates that train at present.
    """
    for rung in reversed(range(rung_count - 1)):
        for name in may_go_on(reached, rung, reduction):
            if len(reached[name].errors) == rung + 1 and name not in under_way:
                return name
    return None


def _crowding_distances(points: Mapping[str, Point]) -> dict[str, float]:
    """Of each point how far its neighbours are apart, in shares of the front's extent (NSGA-II, Deb et al. 2002)."""
    distances = dict.fromkeys(points, 0.0)
    for axis in (0, 1):
        names = sorted(points, key=lambda name: (points[name][axis], name))
        extent = points[names[-1]][axis] - points[names[0]][axis]
        distances[names[0]] = distances[names[-1]] = float("inf")
        if extent > 0:
            for before, name, after in zip(names, names[1:], names[2:], strict=False):
                distances[name] += (points[after][axis] - points[before][axis]) / extent
    return distances
