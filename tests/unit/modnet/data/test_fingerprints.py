"""Copies are found whatever was done to them, other pictures are none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from modnet.data import fingerprints
from modnet.data.fingerprints import Copy, copies, fingerprint
from modnet.workloads.matting.data.synthetic import render_portrait

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def portraits() -> list[Image]:
    return [render_portrait(np.random.default_rng(seed), (192, 128))[0] for seed in range(8)]


def in_a_studio(seed: int) -> Image:
    """A person before white."""
    image, alpha = render_portrait(np.random.default_rng(seed), (192, 128))
    return (image * alpha[..., None] + 255 * (1 - alpha[..., None])).astype(np.uint8)


def small_and_poor(image: Image) -> Image:
    _, encoded = cv2.imencode(".jpg", cv2.resize(image, (64, 96)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        small_and_poor,
        lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
        lambda image: np.rint(255 * (image / 255) ** 0.7).astype(np.uint8),
    ],
    ids=["small and poor", "brighter", "gamma"],
)
def test_a_changed_copy_is_found_among_others(change: Callable[[Image], Image], portraits: list[Image]) -> None:
    others = [fingerprint(one) for one in portraits]
    (found,) = copies([fingerprint(change(portraits[5]))], others)
    assert (found.one, found.other) == (0, 5)
    assert found.different_bits <= fingerprints.MOST_DIFFERENT_BITS


def test_other_portraits_are_no_copies(portraits: list[Image]) -> None:
    prints = [fingerprint(one) for one in portraits]
    assert copies(prints[:4], prints[4:]) == []


def test_other_people_before_the_same_white_are_no_copies() -> None:
    """Most bits of dHash agree there, see docs/decisions/data.md."""
    prints = [fingerprint(in_a_studio(seed)) for seed in range(24)]
    assert copies(prints[:12], prints[12:]) == []
    assert copies([fingerprint(small_and_poor(in_a_studio(3)))], prints)[0].other == 3


def test_pictures_of_one_grey_are_no_copies() -> None:
    grey = fingerprint(np.full((40, 30, 3), 90, np.uint8))
    assert copies([grey], [grey]) == []


def test_positions_are_right_beyond_the_first_block(monkeypatch: pytest.MonkeyPatch, portraits: list[Image]) -> None:
    monkeypatch.setattr(fingerprints, "_BLOCK", 3)
    prints = [fingerprint(one) for one in portraits]
    assert copies(prints, prints[::-1]) == [Copy(number, 7 - number, 0) for number in range(8)]
    assert copies([], prints) == copies(prints, []) == []
