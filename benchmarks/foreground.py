"""How wrong estimated foregrounds are, where the true ones are known: on drawn portraits.

pip install pymatting==1.1.16        # in an environment of its own; the project does without it
python -m benchmarks.foreground [--portraits 24] [--size 256]

The person is composited with his true colours before a new background, and with estimated ones; the table shows the
mean difference where 0 < alpha < 1, in steps of 8-bit values, and the time of one estimate. With exact mattes, and with
mattes blurred by 1.5 pixels, as people's mattes are not exact.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import mean
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from modnet.workloads.matting.data.foreground import estimate_foreground
from modnet.workloads.matting.data.synthetic_background import draw_background
from modnet.workloads.matting.data.synthetic_layers import Layers
from modnet.workloads.matting.data.synthetic_person import draw_person
from tasks.tables import markdown_table

Float = NDArray[np.float32]
MATTE_BLUR = 1.5  # pixels


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and returns 0."""
    parser = argparse.ArgumentParser(description="Error of foreground estimates on drawn portraits.")
    parser.add_argument("--portraits", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)

    methods: dict[str, Callable[[NDArray[np.uint8], Float], Any]] = {
        "the image itself": lambda image, alpha: image,
        "modnet.workloads.matting.data.foreground": estimate_foreground,
    }
    if find_spec("pymatting") is not None:
        multilevel = import_module("pymatting").estimate_foreground_ml
        methods["pymatting, multilevel"] = lambda image, alpha: 255 * multilevel(image / 255, alpha.astype(float))
        multilevel(np.zeros((8, 8, 3)), np.zeros((8, 8)))  # compiles

    rows = []
    for name, estimate in methods.items():
        exact, blurred, milliseconds = zip(
            *(errors(estimate, seed, options.size) for seed in range(options.portraits)), strict=True
        )
        rows.append(
            {
                "foreground": name,
                "exact mattes": f"{mean(exact):.2f}",
                "blurred mattes": f"{mean(blurred):.2f}",
                "ms": f"{mean(milliseconds):.1f}",
            }
        )
    print(markdown_table(rows))
    return 0


def errors(estimate: Callable[[NDArray[np.uint8], Float], Any], seed: int, size: int) -> tuple[float, float, float]:
    """Error with the exact and with the blurred matte of one portrait, and milliseconds of one estimate."""
    rng = np.random.default_rng(seed)
    person = Layers(size, size)
    draw_person(person, rng)
    alpha = person.alpha[..., None]
    colour = np.minimum(person.colour, 255 * alpha)
    old, new = (draw_background(rng, size, size) for _ in range(2))
    image = np.clip(np.rint(colour + (1 - alpha) * old), 0, 255).astype(np.uint8)
    true = colour + (1 - alpha) * new
    found = []
    for given in (person.alpha, cv2.GaussianBlur(person.alpha, (0, 0), MATTE_BLUR).astype(np.float32)):
        began = time.perf_counter()
        foreground = estimate(image, given)
        milliseconds = 1000 * (time.perf_counter() - began)
        composite = given[..., None] * foreground + (1 - given[..., None]) * new
        found.append(float(np.abs(composite - true)[(given > 0) & (given < 1)].mean()))
    return found[0], found[1], milliseconds


if __name__ == "__main__":
    sys.exit(main())
