"""What a front of two objectives is worth, both to be minimised: the area that it beats."""

from __future__ import annotations

from collections.abc import Iterable

Point = tuple[float, float]

# Error and latency, as multiples of the base's. Who errs twice as much is of no use however fast it is. Who takes half
# as long again as the unpruned network is of no use either, and some room above 1 keeps networks of its own speed that
# err less. Kept for ever: hypervolumes by other references do not compare.
REFERENCE: Point = (2.0, 1.5)


def front(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats: none is as good in both objectives. By the first objective; equal ones once."""
    found: list[Point] = []
    for point in sorted(points):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found


def hypervolume(points: Iterable[Point], reference: Point = REFERENCE) -> float:
    """Area that at least one point beats, up to the reference: 0 without points, exact but for rounding.

    After Zitzler and Thiele, "Multiobjective evolutionary algorithms", 1999.

    Args:
        points: in any order; what is not better than the reference in both objectives counts nothing.
        reference: the worst that still counts, in the units of the points.
    """
    area, lowest = 0.0, reference[1]
    for first, second in front(points):
        if first < reference[0] and second < lowest:
            area += (reference[0] - first) * (lowest - second)
            lowest = second
    return area
