"""Differences are those computed by hand; nothing that is not a number passes."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from modnet.errors import ExportError, ParityError
from modnet.export.parity import ParityReport, Tolerance, check_parity

IMAGES = [np.full((1, 3, 2, 2), value, dtype=np.float32) for value in (0.0, 0.5)]


def flat(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return pixels[:, :1]


def off_by(value: float, at: float = 0.5):
    """Like `flat`, but wrong at row 1, column 0 of the images of that grey."""

    def matte(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        alpha = pixels[:, :1].copy()
        if alpha[0, 0, 0, 0] == at:
            alpha[0, 0, 1, 0] += value
        return alpha

    return matte


def test_check_parity_reports_no_difference_when_networks_are_equal() -> None:
    report = check_parity(flat, flat, IMAGES, Tolerance(0.0, 0.0))
    assert report == ParityReport(max_difference=0, mean_difference=0, images=2)


def test_check_parity_reports_largest_and_mean_over_all_pixels() -> None:
    report = check_parity(flat, off_by(-0.25), IMAGES, Tolerance(0.25, 0.25 / 8))
    assert report == ParityReport(max_difference=0.25, mean_difference=0.25 / 8, images=2)


@pytest.mark.parametrize(("maximum", "mean"), [(0.2, 1.0), (1.0, 0.03)], ids=["max", "mean"])
def test_check_parity_raises_with_numbers_and_place_when_tolerance_is_exceeded(maximum: float, mean: float) -> None:
    with pytest.raises(ParityError, match=r"output of b differs from a by 0\.25 at image 1, row 1, column 0") as caught:
        check_parity(flat, off_by(0.25), IMAGES, Tolerance(maximum, mean), names=("a", "b"))
    assert (caught.value.max_difference, caught.value.mean_difference) == (0.25, 0.25 / 8)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("swapped", [False, True], ids=["candidate", "reference"])
def test_check_parity_raises_when_a_value_is_not_finite_whatever_the_tolerance(value: float, swapped: bool) -> None:
    pair = (off_by(value, at=0.0), flat) if swapped else (flat, off_by(value, at=0.0))
    with pytest.raises(ParityError, match="image 0, row 1, column 0"):
        check_parity(*pair, IMAGES, Tolerance(math.inf, math.inf))


def test_check_parity_raises_when_there_are_no_images() -> None:
    with pytest.raises(ExportError, match="no images"):
        check_parity(flat, flat, [], Tolerance(1.0, 1.0))


def test_check_parity_raises_when_shapes_differ() -> None:
    with pytest.raises(ExportError, match=r"shape \(1, 1, 1, 2\), that of reference \(1, 1, 2, 2\)"):
        check_parity(flat, lambda pixels: pixels[:, :1, :1], IMAGES, Tolerance(1.0, 1.0))


def test_tolerances_grow_with_outputs_beyond_1_as_logits_are() -> None:
    def logits(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array([[-20.0, 3.0, pixels.max()]], dtype=np.float32)

    def other(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits(pixels) + np.array([[0, 0.25, 0]], dtype=np.float32)

    assert check_parity(logits, other, IMAGES, Tolerance(0.25 / 20, 0.25 / 60)).max_difference == 0.25
    with pytest.raises(ParityError, match=r"by 0\.25 at image 0, output 1 \(accepted 0\.248\)"):
        check_parity(logits, other, IMAGES, Tolerance(0.0124, 1))
