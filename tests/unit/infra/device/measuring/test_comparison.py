from __future__ import annotations

import random

import pytest

from infra.device.measuring.comparison import comparison


def test_comparison_is_the_median_of_the_ratios_of_each_round() -> None:
    found = comparison("ba9876543210", [2.0, 30.0, 4.0], [1.0, 10.0, 4.0])  # 2, 3, 1
    assert (found.release_id, found.rounds_count, found.ratio) == ("ba9876543210", 3, 2.0)
    assert (found.ratio_low, found.ratio_high) == (1.0, 3.0)


def test_comparison_finds_what_a_machine_that_changes_its_speed_would_hide() -> None:
    generator = random.Random(0)
    speeds = [generator.choice((1.0, 3.0)) for _ in range(101)]
    new_ms = [0.9 * speed * generator.uniform(0.98, 1.02) for speed in speeds]
    old_ms = [speed * generator.uniform(0.98, 1.02) for speed in speeds]
    found = comparison("ba9876543210", new_ms, old_ms)
    assert 0.88 < found.ratio_low <= found.ratio <= found.ratio_high < 0.92


@pytest.mark.parametrize(("new_ms", "old_ms"), [([], []), ([1.0], [1.0, 2.0])])
def test_comparison_refuses_rounds_in_which_not_both_ran(new_ms: list[float], old_ms: list[float]) -> None:
    with pytest.raises(ValueError, match="as many of both"):
        comparison("ba9876543210", new_ms, old_ms)
