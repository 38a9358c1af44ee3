"""Where alpha is certain nothing changes; where it is not, the old background goes."""

from __future__ import annotations

import numpy as np
import pytest

from modnet.workloads.matting.predict.composition import composite, cutout, foreground_colours

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 255, (24, 18, 3), dtype=np.uint8, endpoint=True)
BACKGROUND = RANDOM.integers(0, 255, (24, 18, 3), dtype=np.uint8, endpoint=True)


def soft_edge(size: int = 240) -> np.ndarray:
    """Alpha from 0 to 1 over 40 columns amid the picture."""
    ramp = np.clip((np.arange(size) - size / 2 + 20) / 40, 0, 1).astype(np.float32)
    return np.broadcast_to(ramp, (size, size)).copy()


def test_foreground_colours_are_the_image_where_alpha_is_1() -> None:
    assert np.array_equal(foreground_colours(IMAGE, np.ones((24, 18), np.float32)), IMAGE)
    alpha = soft_edge()
    image = RANDOM.integers(0, 255, (240, 240, 3), dtype=np.uint8, endpoint=True)
    assert np.array_equal(foreground_colours(image, alpha)[alpha == 1], image[alpha == 1])


def test_foreground_colours_are_closer_to_the_person_than_the_image_is() -> None:
    person, behind = np.array([200, 40, 60]), np.array([20, 220, 90])
    alpha = soft_edge()
    image = np.rint(alpha[..., None] * person + (1 - alpha[..., None]) * behind).astype(np.uint8)
    is_soft = (alpha > 0) & (alpha < 1)
    weights = alpha[is_soft][:, None]  # what is transparent is not seen
    found, own = (
        np.abs(weights * (colours[is_soft] - person)).mean() for colours in (foreground_colours(image, alpha), image)
    )
    assert found < own / 4


def test_composite_is_the_background_where_alpha_is_0_and_the_image_where_it_is_1() -> None:
    alpha = np.zeros((24, 18), np.float32)
    assert np.array_equal(composite(IMAGE, alpha, BACKGROUND), BACKGROUND)
    assert np.array_equal(composite(IMAGE, alpha + 1, BACKGROUND), IMAGE)


def test_composite_mixes_colours_by_alpha() -> None:
    image, background = np.full((9, 9, 3), 200, np.uint8), np.full((9, 9, 3), 100, np.uint8)
    mixed = composite(image, np.full((9, 9), 0.25, np.float32), background)
    assert mixed.tolist() == np.full((9, 9, 3), 125).tolist()


def test_cutout_keeps_nothing_of_the_background_where_it_is_transparent() -> None:
    """Of a matte that is nearly, but not exactly, 0 the colours would be those of the old background."""
    alpha = np.full((24, 18), 0.001, np.float32)
    alpha[8:16] = 0.5
    cut = cutout(IMAGE, alpha)
    assert not cut[cut[..., 3] == 0].any()
    assert np.array_equal(cut[8:16, :, :3], foreground_colours(IMAGE, alpha)[8:16])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_cutout_holds_colours_and_alpha_of_an_image_of_one_pixel(value: float) -> None:
    pixel = np.array([[[10, 20, 30]]], np.uint8)
    cut = cutout(pixel, np.array([[value]], np.float32))
    assert cut.shape == (1, 1, 4)
    assert cut[0, 0, 3] == 255 * value
    if value:
        assert cut[0, 0].tolist() == [10, 20, 30, 255]
