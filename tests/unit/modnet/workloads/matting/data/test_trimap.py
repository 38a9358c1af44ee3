from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from modnet.workloads.matting.data.trimap import BAND_RADIUS, trimap_from_alpha, unknown_band

Array = NDArray[Any]


def soft_disc(size: int, radius: float) -> Array:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc: Array = np.clip(radius - np.hypot(x, y), 0.0, 1.0).astype(np.float32)
    return disc


@pytest.mark.parametrize("seed", range(40))
def test_trimap_from_alpha_unknown_band_contains_every_fractional_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (6, 6)).astype(np.float32) / 2
    alpha: Array = cv2.resize(coarse, (120, 90), interpolation=cv2.INTER_LINEAR)
    trimap = trimap_from_alpha(alpha, rng)
    assert (trimap[(alpha > 0) & (alpha < 1)] == 0.5).all()
    assert (alpha[trimap == 1.0] == 1.0).all()
    assert (alpha[trimap == 0.0] == 0.0).all()
    assert set(np.unique(trimap)) <= {0.0, 0.5, 1.0}
    assert trimap.shape == alpha.shape
    assert trimap.dtype == np.float32


def test_trimap_from_alpha_keeps_all_three_regions_when_person_is_large() -> None:
    trimap = trimap_from_alpha(soft_disc(256, 90.0), np.random.default_rng(0))
    assert set(np.unique(trimap)) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_trimap_from_alpha_is_the_matte_when_it_is_constant(value: float) -> None:
    alpha = np.full((40, 30), value, dtype=np.float32)
    assert np.array_equal(trimap_from_alpha(alpha, np.random.default_rng(0)), alpha)


def test_trimap_from_alpha_band_of_a_straight_edge_is_5_to_42_pixels_wide() -> None:
    """A kernel of side s widens the band by s - 1 pixels each time."""
    alpha = np.zeros((20, 200), dtype=np.float32)
    alpha[:, 100:] = 1.0
    widths = {int((trimap_from_alpha(alpha, np.random.default_rng(seed))[10] == 0.5).sum()) for seed in range(300)}
    assert min(widths) == 5
    assert max(widths) == 42
    assert len(widths) > 10


def test_trimap_from_alpha_repeats_when_seed_is_the_same() -> None:
    alpha = soft_disc(96, 30.0)
    first, second, other = (trimap_from_alpha(alpha, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_unknown_band_is_what_lies_within_its_radius_of_a_border() -> None:
    edge = np.zeros((9, 60), dtype=np.float32)
    edge[:, 30:] = 1.0
    is_unknown = unknown_band(edge)
    assert np.flatnonzero(is_unknown[4]).tolist() == list(range(30 - BAND_RADIUS, 30 + BAND_RADIUS))
    dot = np.zeros((61, 61), dtype=np.float32)
    dot[30, 30] = 0.5
    distances = np.hypot(*(np.mgrid[:61, :61] - 30))
    assert unknown_band(dot)[distances <= BAND_RADIUS - 0.5].all()
    assert not unknown_band(dot)[distances > BAND_RADIUS + 0.5].any()


def test_unknown_band_contains_every_fractional_pixel_and_repeats() -> None:
    alpha = soft_disc(96, 30.3)
    assert unknown_band(alpha)[(alpha > 0) & (alpha < 1)].all()
    assert np.array_equal(unknown_band(alpha), unknown_band(alpha))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_unknown_band_is_empty_when_there_is_no_border(value: float) -> None:
    assert not unknown_band(np.full((40, 30), value, dtype=np.float32)).any()
