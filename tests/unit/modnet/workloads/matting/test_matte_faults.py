"""What is said of drawn mattes, and that nothing is said of good ones."""

from __future__ import annotations

import numpy as np
import pytest

from modnet.workloads.matting.data.images import Matte16
from modnet.workloads.matting.data.synthetic import render_portrait
from modnet.workloads.matting.matte_faults import ONE, border_and_centre, faults_of

SHAPE = (96, 64)


def matte_of(seed: int) -> Matte16:
    return np.rint(render_portrait(np.random.default_rng(seed), SHAPE)[1] * ONE).astype(np.uint16)


def kinds(matte: Matte16) -> list[str]:
    return [fault.kind for fault in faults_of(matte)]


@pytest.mark.parametrize("seed", range(20))
def test_a_rendered_matte_has_no_fault_and_looks_inverted_when_it_is(seed: int) -> None:
    matte = matte_of(seed)
    assert kinds(matte) == []
    assert kinds(ONE - matte) == ["mattes that look inverted"]


def test_a_mask_of_0_and_1_in_8_bits_is_empty_and_the_message_says_how_much_there_is() -> None:
    (fault,) = faults_of(np.where(matte_of(0) > ONE // 2, 257, 0).astype(np.uint16))
    assert (fault.kind, fault.spoils) == ("empty mattes", True)
    assert "the largest is 0.004 of 1" in fault.got


def test_nothing_else_is_said_of_empty_and_full_mattes() -> None:
    assert kinds(np.zeros(SHAPE, np.uint16)) == ["empty mattes"]
    assert kinds(np.full(SHAPE, ONE, np.uint16)) == ["full mattes"]


def test_a_mask_is_no_matte_but_spoils_nothing() -> None:
    mask = np.where(matte_of(0) > ONE // 2, ONE, 0).astype(np.uint16)
    (fault,) = faults_of(mask)
    assert (fault.kind, fault.spoils) == ("mattes of only 0 and 1", False)
    assert kinds(ONE - mask) == ["mattes that look inverted", "mattes of only 0 and 1"]


def test_the_lower_border_does_not_count_as_border() -> None:
    matte = np.zeros((100, 60), np.uint16)
    matte[50:] = ONE  # a person who fills the lower half
    border, centre = border_and_centre(matte)
    assert border == 0
    assert centre == pytest.approx(17 / 34)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 3), (400, 1)])
def test_tiny_mattes_are_looked_at(shape: tuple[int, int]) -> None:
    matte = np.full(shape, ONE // 3, np.uint16)
    assert all(0 <= mean <= 1 for mean in border_and_centre(matte))
    assert kinds(matte) == ["empty mattes"]


def test_two_people_at_the_sides_are_no_inverted_matte() -> None:
    matte = np.zeros((100, 100), np.uint16)
    matte[30:, :35] = matte[30:, -35:] = ONE
    assert kinds(matte) == ["mattes of only 0 and 1"]
