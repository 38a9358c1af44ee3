"""The estimated foreground puts a person before another background with less of the old one around him."""

from __future__ import annotations

import numpy as np
import pytest

from modnet.workloads.matting.data.foreground import estimate_foreground
from modnet.workloads.matting.data.synthetic_background import draw_background
from modnet.workloads.matting.data.synthetic_layers import Layers
from modnet.workloads.matting.data.synthetic_person import draw_person

SIDE = 128


@pytest.mark.parametrize("seed", range(4))
def test_estimate_foreground_is_less_than_half_as_wrong_as_the_image_itself(seed: int) -> None:
    """The person's true colours are known: he was drawn without a background."""
    rng = np.random.default_rng(seed)
    person = Layers(SIDE, SIDE)
    draw_person(person, rng)
    alpha = person.alpha[..., None]
    colour = np.minimum(person.colour, 255 * alpha)
    image = np.clip(np.rint(colour + (1 - alpha) * draw_background(rng, SIDE, SIDE)), 0, 255).astype(np.uint8)
    is_border = (person.alpha > 0) & (person.alpha < 1)
    estimated, naive = (
        np.abs(alpha * foreground - colour)[is_border].mean()
        for foreground in (estimate_foreground(image, person.alpha), image)
    )
    assert estimated < 0.45 * naive


def test_estimate_foreground_is_the_image_when_all_is_person() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert np.array_equal(np.rint(estimate_foreground(image, np.ones((40, 50), np.float32))), image)


def test_estimate_foreground_finds_two_plain_colours_when_they_mix() -> None:
    red, blue = np.array([250, 10, 20]), np.array([5, 30, 220])
    alpha = np.tile(np.clip((np.arange(60) - 25) / 10, 0, 1), (60, 1)).astype(np.float32)
    image = np.rint(alpha[..., None] * red + (1 - alpha[..., None]) * blue).astype(np.uint8)
    wrong, naive = (
        np.abs(alpha[..., None] * (found - red)).max() for found in (estimate_foreground(image, alpha), image)
    )
    assert naive > 60  # of 255, as it counts in a composite
    assert wrong < 8


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 2)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_estimate_foreground_is_finite_and_in_range_when_image_is_tiny(shape: tuple[int, int], value: float) -> None:
    found = estimate_foreground(np.full((*shape, 3), 200, np.uint8), np.full(shape, value, np.float32))
    assert found.shape == (*shape, 3)
    assert found.min() >= 0
    assert found.max() <= 255
