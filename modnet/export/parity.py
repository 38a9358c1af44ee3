"""Whether an exported network still computes what its source computes, on the same pixels."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from modnet.errors import ExportError, ParityError
from modnet.graph_function import GraphFunction, Pixels
from modnet.records import Record
from modnet.targets import Precision


class Tolerance(NamedTuple):
    """Largest acceptable absolute difference of the output: of any value, and of the mean over all values.

    It is of outputs in [-1, 1], as mattes and shares are. Where the reference's reach further, as logits do, both grow
    with its largest magnitude: float numbers lose digits in proportion to their size.
    """

    maximum: float
    mean: float


# Without rounded weights every form computes the same. OpenVINO's instance norm, though, loses digits on images with
# large flat areas, as a letterbox makes them: 1e-4 of a deviation was seen where torch loses 4e-7. A trained network
# stays at 1e-4 at any pixel all the same, hardly trained ones reach 5e-3; a wrong conversion moves the average.
# Rounding the weights moves single pixels of a border by more (0.04 seen). Quantisation changes the output by design:
# how much is too much is for the scores on labelled images to say.
TOLERANCES: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(maximum=1e-3, mean=5e-4),
    "fp16": Tolerance(maximum=math.inf, mean=2e-3),
    "int8": Tolerance(maximum=math.inf, mean=math.inf),
}


class ParityReport(Record):
    """Absolute differences of the output between two forms of one network, over all values of all images."""

    max_difference: float = Field(ge=0)
    mean_difference: float = Field(ge=0)
    images: int = Field(ge=1)


def check_parity(
    reference: GraphFunction,
    candidate: GraphFunction,
    images: Iterable[Pixels],
    tolerance: Tolerance,
    names: tuple[str, str] = ("reference", "candidate"),
) -> ParityReport:
    """Compares two networks, whose names are for messages, on the same pixels, float32 (1, C, H, W) in [-1, 1].

    Raises:
        ParityError: a tolerance is exceeded or a value is not finite; names the worst image and value.
        ExportError: no images, or outputs of different shapes.
    """
    worst, where, total, values, count, scale = 0.0, "nowhere", 0.0, 0, 0, 1.0
    for index, image in enumerate(images):
        wanted = reference(image)
        scale = max(scale, float(np.abs(wanted).max()))
        difference = _difference(wanted, candidate(image), names)
        largest = int(difference.argmax())  # of NaN if there is one
        if not difference.flat[largest] <= worst:
            worst = float(difference.flat[largest])
            where = f"image {index}, {_place(largest, difference.shape)}"
        total += float(difference.sum())
        values += difference.size
        count += 1
        if not math.isfinite(worst):
            break
    if not count:
        raise ExportError(f"cannot compare {names[1]} with {names[0]}: no images given")
    mean = total / values
    allowed = Tolerance(*(scale * one for one in tolerance))
    if not (math.isfinite(worst) and worst <= allowed.maximum and mean <= allowed.mean):
        at_worst = f"by {worst:.3g} at {where} (accepted {allowed.maximum:.3g})"
        average = f"on average by {mean:.3g} (accepted {allowed.mean:.3g}) over {count} images"
        raise ParityError(f"the output of {names[1]} differs from {names[0]} {at_worst} and {average}", worst, mean)
    return ParityReport(max_difference=worst, mean_difference=mean, images=count)


def _place(position: int, shape: tuple[int, ...]) -> str:
    """Where a value of an output is, for people: of a map its pixel, of logits their number."""
    at = np.unravel_index(position, shape)
    return f"row {at[-2]}, column {at[-1]}" if len(shape) > 2 else f"output {at[-1]}"


def _difference(wanted: NDArray[np.float32], got: NDArray[np.float32], names: tuple[str, str]) -> NDArray[np.float64]:
    if wanted.shape != got.shape:
        raise ExportError(f"the output of {names[1]} has shape {got.shape}, that of {names[0]} {wanted.shape}")
    return np.abs(wanted.astype(np.float64) - got)
