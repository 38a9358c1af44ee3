"""Instance norm that stays in range where sums are kept in float16, as on the Neural Compute Stick 2.

Over 512×512 pixels a plain sum of squares passes float16's largest number, 65504, as soon as the root mean square
passes 0.5. In the form made here nothing exceeds twice the largest input, whatever the input is:

    m = mean(x / 64) · 64      windows of at most 8×8 pixels, then windows of those means, and so on
    d = x - m
    s = max(|d|, 2⁻¹⁰)         again in windows
    u = d / s                  in [-1, 1], so no sum of 64 squares exceeds 64
    y = u / √(mean(u²) + (√ε / s)²)

Dividing by s does not change the result: d / √(mean(d²) + ε) = (d / s) / √(mean(d²) / s² + ε / s²). The mean is as
exact as a float16 sum of 64 numbers is, to about half a percent of itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino.opset1 as ops

WINDOW = 8
FLOOR = 2.0**-10

Node = Any


def safe_instance_norm(x: Node, epsilon: float) -> Node:
    """Adds the norm of `x`, an output of fixed shape (1, C, H, W), to its graph, in operations of opset 1."""
    shrunk = ops.multiply(x, _constant(1 / WINDOW**2))
    mean = ops.multiply(_in_windows(shrunk, _average), _constant(WINDOW**2))
    centred = ops.subtract(x, mean)
    size = ops.maximum(centred, ops.multiply(centred, _constant(-1.0)))  # |d|: the stick's compiler has no Abs
    largest = ops.maximum(_in_windows(size, _maximum), _constant(FLOOR))
    scaled = ops.divide(centred, largest)
    variance = _in_windows(ops.multiply(scaled, scaled), _average)
    root = ops.divide(_constant(np.sqrt(epsilon)), largest)
    deviation = ops.sqrt(ops.add(variance, ops.multiply(root, root)))
    return ops.divide(scaled, deviation)


def _in_windows(node: Node, pool: Callable[[Node, list[int]], Node]) -> Node:
    """Pools (1, C, H, W) to (1, C, 1, 1) step by step; windows tile exactly, so a mean of means is the mean."""
    while (sides := list(node.get_output_shape(0))[2:]) != [1, 1]:
        node = pool(node, [_window(side) for side in sides])
    return node


def _window(side: int) -> int:
    """The largest divisor of `side` up to 8; sides with prime factors above 8 are taken as a whole in the end."""
    return next((divisor for divisor in range(WINDOW, 1, -1) if side % divisor == 0), side)


def _average(node: Node, window: list[int]) -> Node:
    return ops.avg_pool(node, window, [0, 0], [0, 0], window, exclude_pad=True)


def _maximum(node: Node, window: list[int]) -> Node:
    return ops.max_pool(node, window, [0, 0], [0, 0], window)


def _constant(value: float) -> Node:
    return ops.constant(np.full((1, 1, 1, 1), value, np.float32))
