"""Of several inputs an image is given to the one that it fits best."""

from __future__ import annotations

import numpy as np
import pytest

from modnet.targets import Shape
from modnet.workloads.matting.predict.predictors import fitting, fitting_predictor

UPRIGHT, ACROSS = (512, 352), (352, 512)


@pytest.mark.parametrize("shapes", [(UPRIGHT, ACROSS), (ACROSS, UPRIGHT)])
@pytest.mark.parametrize(
    ("size", "fits"),
    [((900, 600), UPRIGHT), ((600, 900), ACROSS), ((601, 600), UPRIGHT), ((1, 4000), ACROSS), ((3000, 1), UPRIGHT)],
)
def test_the_shape_that_leaves_the_fewest_pixels_empty_fits(
    shapes: tuple[Shape, ...], size: tuple[int, int], fits: Shape
) -> None:
    assert fitting(shapes, size) == fits


@pytest.mark.parametrize("shapes", [(UPRIGHT, ACROSS), (ACROSS, UPRIGHT), (ACROSS,)])
def test_a_square_is_given_to_the_main_shape(shapes: tuple[Shape, ...]) -> None:
    assert fitting(shapes, (333, 333)) == shapes[0]


def test_an_image_is_read_at_the_shape_that_fits_it_and_its_matte_is_of_its_own_size() -> None:
    read = []

    def graph(pixels: np.ndarray) -> np.ndarray:
        read.append(pixels.shape[2:])
        return np.ones_like(pixels[:, :1])

    predictor = fitting_predictor(graph, (UPRIGHT, ACROSS))
    assert predictor.protocol == "device-512x352 or device-352x512"
    for size in ((90, 60), (60, 90)):
        assert predictor(np.zeros((*size, 3), np.uint8)).shape == size
    assert read == [UPRIGHT, ACROSS]
