"""Augmentation changes an image and keeps its matte true."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from modnet.data.image_changes import blur, compress, recolour
from modnet.data.images import Image
from modnet.targets import Shape
from modnet.workloads.matting.data.augmentation import (
    LETTERBOX_GREY,
    OPAQUE,
    alpha_of,
    augment,
    crop_at_border,
    cut_empty_square,
    random_background,
    replace_background,
)
from modnet.workloads.matting.data.images import Matte16
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.settings import AugmentationConfig

EVERYTHING = AugmentationConfig(flip=0.5, colour=1, blur=1, jpeg=1, background=1)


def portrait(seed: int, size: tuple[int, int] = (120, 90)) -> tuple[Image, Matte16]:
    image, alpha = render_portrait(np.random.default_rng(seed), size)
    return image, np.rint(alpha * OPAQUE).astype(np.uint16)


def nobody() -> None:
    """No other image to take a background from."""


def self_portrait(seed: int) -> tuple[Image, Matte16]:
    """An image that encodes its matte: as grey, exactly."""
    _, alpha = render_portrait(np.random.default_rng(seed), (120, 90))
    grey = np.rint(alpha * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2), grey.astype(np.uint16) * np.uint16(257)


@pytest.mark.parametrize("seed", range(12))
def test_augment_keeps_image_and_matte_aligned_when_cropping_and_flipping(seed: int) -> None:
    config = AugmentationConfig.none().model_copy(update={"crops": True, "flip": 0.5})
    image, matte = augment(*self_portrait(seed), (64, 64), config, np.random.default_rng(seed), nobody)
    assert np.abs(image[..., 0] - 255 * alpha_of(matte)).max() <= 1


@pytest.mark.parametrize("seed", range(12))
def test_augment_keeps_alpha_in_range_and_certain_pixels_certain_when_everything_is_on(seed: int) -> None:
    other = portrait(seed + 100)
    image, matte = augment(*portrait(seed), (64, 64), EVERYTHING, np.random.default_rng(seed), lambda: other)
    assert (image.shape, image.dtype, matte.shape, matte.dtype) == ((64, 64, 3), np.uint8, (64, 64), np.uint16)
    alpha = alpha_of(matte)
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert ((alpha == 1) == (matte == OPAQUE)).all()


def test_augment_is_a_function_of_its_generator() -> None:
    def augmented(seed: int) -> Image:
        return augment(*portrait(1), (64, 64), EVERYTHING, np.random.default_rng(seed), lambda: portrait(2))[0]

    assert np.array_equal(augmented(3), augmented(3))
    assert not np.array_equal(augmented(3), augmented(4))


def test_augment_does_not_change_what_it_is_given() -> None:
    image, matte = portrait(1)
    before = image.copy(), matte.copy()
    for seed in range(8):
        augment(image, matte, (64, 64), EVERYTHING, np.random.default_rng(seed), lambda: (image, matte))
    assert np.array_equal(image, before[0])
    assert np.array_equal(matte, before[1])


@pytest.mark.parametrize("value", [0, OPAQUE])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (90, 70)])
def test_augment_gives_the_constant_matte_when_it_is_all_0_or_all_1(value: int, size: tuple[int, int]) -> None:
    image, matte = np.full((*size, 3), 128, np.uint8), np.full(size, value, np.uint16)
    for seed in range(6):
        sample, same = augment(image, matte, (32, 32), EVERYTHING, np.random.default_rng(seed), lambda: (image, matte))
        assert sample.shape == (32, 32, 3)
        assert (same == value).all()


def test_augment_takes_the_whole_image_when_config_is_none() -> None:
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, 60:] = 200
    shown, matte = augment(
        image, np.zeros((60, 120), np.uint16), (32, 32), AugmentationConfig.none(), np.random.default_rng(0), nobody
    )
    assert (shown[:, :16] == 0).all()
    assert (shown[:, 16:] == 200).all()
    assert not matte.any()


@pytest.mark.parametrize("shares", [(0.3, 0.3), (0.5, 1.0), (1.0, 1.0), (1.2, 1.2), (0.5, 2.0)])
def test_crop_at_border_is_a_square_of_the_wanted_size_with_border_in_it(shares: tuple[float, float]) -> None:
    image, matte = portrait(5, (150, 100))
    for seed in range(30):
        cropped, cropped_matte = crop_at_border(image, matte, (1, 1), shares, np.random.default_rng(seed))
        side = cropped_matte.shape[0]
        assert cropped.shape == (side, side, 3)
        assert shares[0] * 100 - 1 <= side <= shares[1] * 100 + 1
        assert ((cropped_matte > 0) & (cropped_matte < OPAQUE)).any()


def test_crop_at_border_shows_all_of_the_image_in_letterbox_grey_when_it_is_larger() -> None:
    image, matte = portrait(5, (150, 100))
    tops = set()
    for seed in range(10):
        cropped, cropped_matte = crop_at_border(image, matte, (1, 1), (1.7, 1.7), np.random.default_rng(seed))
        # Where the image lies within the square is told by what is not grey; the matte moves with it.
        top, left = (int(np.argmax((cropped != LETTERBOX_GREY).any(axis=axis))) for axis in ((1, 2), (0, 2)))
        assert np.array_equal(cropped[top : top + 150, left : left + 100], image)
        assert np.array_equal(cropped_matte[top : top + 150, left : left + 100], matte)
        assert cropped_matte.sum() == matte.sum()
        tops.add(top)
    assert len(tops) > 1


@pytest.mark.parametrize(("aspect", "largest"), [((3, 2), (150, 100)), ((2, 3), (67, 100)), ((5, 1), (150, 30))])
@pytest.mark.parametrize("share", [0.5, 1.0, 1.4])
def test_crop_at_border_has_the_wanted_aspect(aspect: Shape, largest: Shape, share: float) -> None:
    image, matte = portrait(5, (150, 100))
    for seed in range(10):
        cropped, cropped_matte = crop_at_border(image, matte, aspect, (share, share), np.random.default_rng(seed))
        assert cropped_matte.shape == cropped.shape[:2] == pytest.approx([share * side for side in largest], abs=1)
        assert ((cropped_matte > 0) & (cropped_matte < OPAQUE)).any()


def test_augment_does_not_distort_when_sample_is_a_rectangle() -> None:
    image = np.zeros((300, 200, 3), np.uint8)
    cv2.circle(image, (100, 150), 60, (255, 255, 255), -1)
    plain = AugmentationConfig.none().model_copy(update={"crops": True, "smallest_crop": 1.0, "largest_crop": 1.0})
    shown, matte = augment(
        image, image[..., 0].astype(np.uint16) * 257, (96, 64), plain, np.random.default_rng(0), nobody
    )
    assert shown.shape == (96, 64, 3)
    rows, columns = (np.flatnonzero((matte > OPAQUE // 2).any(axis=axis)) for axis in (1, 0))
    assert len(rows) == len(columns) == pytest.approx(2 * 60 * 0.32, abs=1)


@pytest.mark.parametrize("shape", [(64, 96), (96, 64)])
def test_background_cut_from_a_photograph_keeps_its_proportions(shape: Shape) -> None:
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[(np.indices((200, 200)) // 20).sum(axis=0) % 2 == 1] = 255  # squares of 20 × 20
    empty = np.zeros((200, 200), np.uint16)
    cut = next(
        background
        for seed in range(20)
        if (background := random_background(shape, np.random.default_rng(seed), lambda: (stripes, empty))) is not None
        and set(np.unique(background[..., 0] > 127)) == {False, True}
        and background.std() > 110  # a drawn one is not black and white
    )
    runs = [
        np.diff(np.flatnonzero(np.diff(line > 127))) for line in (cut[:, 20, 0].astype(int), cut[20, :, 0].astype(int))
    ]
    assert np.median(runs[0]) == pytest.approx(np.median(runs[1]), abs=1)


def test_crop_at_border_shows_the_person_when_matte_is_hard() -> None:
    matte = np.zeros((100, 100), np.uint16)
    matte[90:95, 3:6] = OPAQUE
    for seed in range(20):
        _, cropped = crop_at_border(
            np.zeros((100, 100, 3), np.uint8), matte, (1, 1), (0.2, 0.3), np.random.default_rng(seed)
        )
        assert cropped.any()


@pytest.mark.parametrize("change", [blur, compress, lambda image, rng: recolour(image, 1.0, rng)])
def test_changes_of_an_image_move_it_a_little(change: Callable[[Image, np.random.Generator], Image]) -> None:
    image, _ = portrait(7, (128, 128))
    changed = change(image, np.random.default_rng(1))
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert 0 < np.abs(changed.astype(float) - image).mean() < 60


def test_compress_keeps_the_order_of_colours() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    changed = compress(red, np.random.default_rng(0)).astype(int)
    assert changed[..., 0].min() > 200
    assert changed[..., 1:].max() < 60


def test_recolour_changes_nothing_when_strength_is_0() -> None:
    image, _ = portrait(7)
    assert np.array_equal(recolour(image, 0.0, np.random.default_rng(0)), image)


def test_replace_background_is_the_identity_when_all_is_person() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    background = np.full_like(image, 255)
    assert np.array_equal(replace_background(image, np.full((40, 50), OPAQUE, np.uint16), background), image)


def test_replace_background_is_the_background_when_nothing_is_person() -> None:
    image, _ = portrait(0)
    background, _ = portrait(1)
    assert np.array_equal(replace_background(image, np.zeros(image.shape[:2], np.uint16), background), background)


def test_replace_background_keeps_the_person_and_shows_the_background_elsewhere() -> None:
    image, matte = portrait(3, (160, 120))
    background = np.full_like(image, (0, 255, 0))
    composite = replace_background(image, matte, background)
    assert np.array_equal(composite[matte == OPAQUE], image[matte == OPAQUE])
    assert (composite[matte == 0] == (0, 255, 0)).all()


def test_cut_empty_square_is_as_large_as_possible_and_without_person() -> None:
    y, x = np.mgrid[:80, :200]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)  # every pixel says where it is
    matte = np.zeros((80, 200), np.uint16)
    matte[:, 60:120] = 1
    for seed in range(20):
        cut = cut_empty_square(image, matte, 10, np.random.default_rng(seed))
        assert cut is not None
        assert cut.shape[0] == cut.shape[1] >= 60
        columns = cut[..., 0]
        assert ((columns < 60) | (columns >= 120)).all()


@pytest.mark.parametrize("smallest", [1, 8])
def test_cut_empty_square_is_none_when_person_is_everywhere(smallest: int) -> None:
    image, matte = np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), np.uint16)
    assert cut_empty_square(image, matte, smallest, np.random.default_rng(0)) is None


def test_random_background_is_drawn_or_cut_and_drawn_when_there_is_nothing_to_cut() -> None:
    plain = np.full((50, 50, 3), 77, np.uint8), np.zeros((50, 50), np.uint16)
    full = plain[0], np.ones((50, 50), np.uint16)
    generators = [np.random.default_rng(seed) for seed in range(40)]
    cut = [(random_background((32, 32), rng, lambda: plain) == 77).all() for rng in generators]
    assert 8 < sum(cut) < 32
    for other in (None, full):
        generators = [np.random.default_rng(seed) for seed in range(10)]
        backgrounds = [random_background((32, 32), rng, lambda given=other: given) for rng in generators]
        assert all(background.shape == (32, 32, 3) for background in backgrounds)
        assert not any((background == 77).all() for background in backgrounds)


def test_augmentation_config_refuses_crops_that_are_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match="smallest_crop must be at most largest_crop, got 0.8 and 0.4"):
        AugmentationConfig(smallest_crop=0.8, largest_crop=0.4)
