"""Counts worked out by hand."""

import pytest
import torch

from modnet.pruning.policies import adaptive_count, ratio_count, round_to_multiple, split_by_parts


@pytest.mark.parametrize(
    ("scores", "threshold", "count"),
    [([0, 1, 2, 3, 4], 0.5, 3), ([0, 1, 2, 3, 4], 0.51, 2), ([0, 0, 0, 10], 0.5, 1), ([7, 7, 7], 0.9, 3)],
    ids=["reaches", "just misses", "one outlier", "all equal"],
)
def test_adaptive_count_counts_scores_that_reach_the_threshold(scores: list, threshold: float, count: int) -> None:
    assert adaptive_count(torch.tensor(scores, dtype=torch.float64), threshold) == count


@pytest.mark.parametrize(
    ("channels", "ratio", "count"), [(32, 0.5, 16), (32, 0.3, 22), (10, 0.9, 1), (10, 0.7, 3), (1, 0.9, 1), (32, 0, 32)]
)
def test_ratio_count_is_floor_of_what_is_left(channels: int, ratio: float, count: int) -> None:
    assert ratio_count(channels, ratio) == count


@pytest.mark.parametrize(
    ("count", "rounded"), [(1, 8), (8, 8), (11, 16), (12, 16), (18, 24), (26, 24), (27, 32), (31, 32), (32, 32)]
)
def test_round_to_multiple_rounds_up_where_more_than_a_tenth_would_go(count: int, rounded: int) -> None:
    assert round_to_multiple(count, 32, multiple=8, minimum=1) == rounded


def test_round_to_multiple_keeps_to_minimum_and_to_what_there_is() -> None:
    assert round_to_multiple(3, 64, multiple=4, minimum=16) == 16
    assert round_to_multiple(10, 11, multiple=8, minimum=8) == 11


@pytest.mark.parametrize(
    ("count", "parts", "widths"),
    [(16, (16, 16), (8, 8)), (9, (16, 16), (4, 5)), (1, (4, 4), (1, 1)), (5, (9,), (5,)), (7, (6, 2), (5, 2))],
)
def test_split_by_parts_shares_in_proportion(count: int, parts: tuple, widths: tuple) -> None:
    assert split_by_parts(count, parts) == widths
