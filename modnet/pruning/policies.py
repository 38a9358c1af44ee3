"""How many channels stay. A policy turns a setting into counts; nothing else in the project reads a ratio."""

from __future__ import annotations

import math

from torch import Tensor


def adaptive_count(scores: Tensor, threshold: float) -> int:
    """Channels whose score, scaled to [0, 1] within the group, reaches `threshold`.

    The number follows the spread of the scores: a layer in which few filters stand out loses more than one of equals.
    Equal scores say nothing about what could go, so all channels stay.
    """
    low, high = float(scores.min()), float(scores.max())
    if high == low:
        return len(scores)
    return int(((scores - low) / (high - low) >= threshold).sum())


def ratio_count(channels: int, ratio: float) -> int:
    """floor((1 - ratio) · channels), at least 1: what is left when a share `ratio` in [0, 1) is removed."""
    # 1e-9 keeps a product like (1 - 0.9) * 10 = 0.9999… from losing a channel to binary fractions.
    return max(1, math.floor((1 - ratio) * channels + 1e-9))


def round_to_multiple(count: int, channels: int, multiple: int, minimum: int) -> int:
    """`count` rounded to a multiple that devices compute well on.

    To the nearest multiple, and up where that would lose more than a tenth; not below `minimum`, and never above the
    `channels` that there are.
    """
    rounded = max(multiple, (count + multiple // 2) // multiple * multiple)
    if rounded < 0.9 * count:
        rounded += multiple
    return min(channels, max(rounded, minimum))


def split_by_parts(count: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    """`count` shared out in proportion to `parts`, at least 1 each; the last part takes what rounding leaves."""
    total = sum(parts)
    shares = [max(1, count * part // total) for part in parts[:-1]]
    return (*shares, max(1, min(parts[-1], count - sum(shares))))
