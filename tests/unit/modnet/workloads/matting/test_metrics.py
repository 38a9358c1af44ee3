"""Identity is zero, known offsets are known, and definitions written out slowly give the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modnet.workloads.matting.metrics import ERROR_MAPS, connectivity_error, gradient_error, mse, summarise
from modnet.workloads.matting.names import Metric


def error(metric: Metric, predicted: np.ndarray, alpha: np.ndarray, is_unknown: np.ndarray | None = None) -> float:
    return summarise(metric, ERROR_MAPS[metric](predicted, alpha), is_unknown)


def alphas(seed: int, shape: tuple[int, int] = (9, 12)) -> tuple[np.ndarray, np.ndarray]:
    """Two alphas with plateaus at 0 and 1, like mattes, and of few levels, so that regions are of equal level."""
    random = np.random.default_rng(seed)
    made = np.clip(random.random((2, *shape)) * 1.6 - 0.3, 0, 1)
    predicted, alpha = (np.rint(made * 20) / 20).astype(np.float32)
    return predicted, alpha


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A soft disc and a rippled prediction of it with an island apart, in 8 bits."""
    rows, columns = np.mgrid[:48, :64]
    distance = np.hypot(rows - 26, (columns - 27) * 0.9)
    ripple = 0.18 * np.sin(rows / 2.3) * np.cos(columns / 3.1)
    island = np.hypot(rows - 8, columns - 56) < 5
    made = (np.clip((19 - distance) / 9 + ripple, 0, 1) + 0.9 * island, (20 - distance) / 6)
    predicted, alpha = (np.rint(255 * np.clip(values, 0, 1)).astype(np.float32) / np.float32(255) for values in made)
    return predicted, alpha


def slow_connectivity_error(predicted: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """By the definition: a flood fill for every region of every threshold."""

    def largest_region(mask: np.ndarray) -> set[tuple[int, int]]:
        left = {tuple(place) for place in np.argwhere(mask)}
        regions = []
        while left:
            region, edge = set(), [min(left)]
            while edge:
                row, column = edge.pop()
                if (row, column) in left:
                    left.remove((row, column))
                    region.add((row, column))
                    edge += [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            regions.append(region)
        return max(regions, key=len, default=set())

    limits = np.zeros(alpha.shape)
    for place in np.ndindex(*alpha.shape):
        for step in range(1, 11):
            threshold = np.float32(step / 10)
            if place not in largest_region((predicted >= threshold) & (alpha >= threshold)):
                break
            limits[place] = step / 10
    phi = [1 - np.where(one - limits >= 0.15, one - limits, 0) for one in (predicted, alpha)]
    return np.abs(phi[0] - phi[1])


def slow_gradient_error(predicted: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """By the definition: a sum over 9 × 9 neighbours for every pixel."""
    offsets = range(-4, 5)

    def gaussian(x: float) -> float:
        return math.exp(-(x**2) / (2 * 1.4**2)) / (1.4 * math.sqrt(2 * math.pi))

    kernel = np.array([[gaussian(y) * -x * gaussian(x) / 1.4**2 for x in offsets] for y in offsets])
    kernel /= np.sqrt((kernel**2).sum())

    def size(values: np.ndarray, row: int, column: int) -> float:
        height, width = values.shape
        sums = np.zeros(2)
        for y in offsets:
            for x in offsets:
                value = values[min(max(row + y, 0), height - 1), min(max(column + x, 0), width - 1)]
                sums += value * kernel[y + 4, x + 4], value * kernel[x + 4, y + 4]
        return float(np.hypot(*sums))

    places = np.ndindex(*alpha.shape)
    errors = [(size(predicted, *place) - size(alpha, *place)) ** 2 for place in places]
    return np.reshape(errors, alpha.shape)


@pytest.mark.parametrize("metric", ERROR_MAPS)
@pytest.mark.parametrize("shape", [(7, 5), (1, 1)], ids=["small", "one pixel"])
def test_metric_is_zero_when_alphas_are_equal(metric: Metric, shape: tuple[int, int]) -> None:
    alpha = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert error(metric, alpha, alpha.copy()) == 0
    assert error(metric, alpha, alpha.copy(), np.ones(shape, np.bool_)) == 0


@pytest.mark.parametrize("value", [0, 1], ids=["all background", "all person"])
@pytest.mark.parametrize("metric", ERROR_MAPS)
def test_metric_is_zero_when_both_are_all_the_same(metric: Metric, value: int) -> None:
    alpha = np.full((6, 5), value, np.float32)
    assert error(metric, alpha, alpha) == 0


def test_metrics_equal_a_known_offset() -> None:
    alpha = np.full((4, 6), 0.25, dtype=np.float32)
    assert error("mse", alpha + np.float32(0.5), alpha) == pytest.approx(0.25)
    assert mse(alpha + np.float32(0.5), alpha) == pytest.approx(0.25)
    assert error("mad", alpha - np.float32(0.25), alpha) == pytest.approx(0.25)
    assert error("sad", alpha + np.float32(0.5), alpha) == pytest.approx(24 * 0.5 / 1000)
    assert error("grad", alpha + np.float32(0.5), alpha) == pytest.approx(0, abs=1e-12)  # flat both


def test_metrics_look_at_the_unknown_band_only_when_it_is_given() -> None:
    alpha = np.zeros((2, 3), np.float32)
    predicted = np.array([[1, 0.5, 0], [0, 0, 1]], np.float32)
    is_unknown = np.array([[False, True, True], [False, False, False]])
    assert error("mse", predicted, alpha, is_unknown) == pytest.approx(0.125)
    assert error("mad", predicted, alpha, is_unknown) == pytest.approx(0.25)
    assert error("sad", predicted, alpha, is_unknown) == pytest.approx(0.0005)


def test_conn_counts_a_piece_that_is_cut_off_and_not_a_soft_edge() -> None:
    alpha = np.array([[1, 1, 1, 1, 1, 1]], np.float32)
    cut = np.array([[1, 1, 1, 0, 1, 1]], np.float32)
    # The three on the left are connected. Of the two on the right both alphas are 1 above what is connected: alike.
    # The gap is 1 in one alpha and 0 in the other.
    assert connectivity_error(cut, alpha).tolist() == [[0, 0, 0, 1, 0, 0]]
    soft = np.array([[1, 1, 1, 1, 1, 0.9]], np.float32)
    assert error("conn", soft, alpha) == 0  # 0.1 is below what can be seen


def test_grad_of_a_step_equals_the_squared_size_of_its_gradient() -> None:
    step = np.zeros((20, 20), np.float32)
    step[:, 10:] = 1
    errors = gradient_error(step, np.zeros_like(step))
    assert np.sqrt(errors[5]).max() == pytest.approx(2.66, abs=0.005)
    np.testing.assert_allclose(errors, errors[:1].repeat(20, axis=0), atol=1e-6)
    assert np.count_nonzero(errors[5] > 1e-10) == 8  # four pixels to each side


@pytest.mark.parametrize("seed", range(6))
def test_connectivity_error_equals_the_definition(seed: int) -> None:
    predicted, alpha = alphas(seed)
    np.testing.assert_allclose(
        connectivity_error(predicted, alpha), slow_connectivity_error(predicted, alpha), atol=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_gradient_error_equals_the_definition(seed: int) -> None:
    predicted, alpha = alphas(seed)
    np.testing.assert_allclose(gradient_error(predicted, alpha), slow_gradient_error(predicted, alpha), atol=2e-5)


def test_metrics_equal_what_another_implementation_computes() -> None:
    """Recorded from mmagic 1.2.0 on `scene()`: it measures conn and grad within a trimap's unknown pixels."""
    predicted, alpha = scene()
    is_unknown = np.zeros(alpha.shape, np.bool_)
    is_unknown[4:44, 3:58] = True
    assert error("mse", predicted, alpha) == pytest.approx(0.04554867720, rel=1e-6)
    assert error("sad", predicted, alpha) == pytest.approx(0.32116078348, rel=1e-6)
    assert error("conn", predicted, alpha) == pytest.approx(0.34666667369, rel=1e-6)
    assert error("grad", predicted, alpha) == pytest.approx(0.86250805048, rel=1e-6)
    assert error("conn", predicted, alpha, is_unknown) == pytest.approx(0.32296863420, rel=1e-6)
    assert error("grad", predicted, alpha, is_unknown) == pytest.approx(0.64078935111, rel=1e-6)


def test_gradient_error_is_the_same_when_arrays_lie_elsewhere_in_memory() -> None:
    predicted, alpha = alphas(0, (64, 41))
    for offset in range(1, 9):
        moved = np.empty(alpha.size + offset, np.float32)[offset:].reshape(alpha.shape)
        moved[:] = predicted
        np.testing.assert_array_equal(gradient_error(moved, alpha), gradient_error(predicted, alpha))


def test_summarise_raises_when_the_unknown_band_is_empty() -> None:
    with pytest.raises(ValueError, match="mse of no pixels"):
        summarise("mse", np.zeros((2, 2), np.float32), np.zeros((2, 2), np.bool_))
