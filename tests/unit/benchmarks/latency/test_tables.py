"""What the latency benchmark computes from its samples: ratios and intervals."""

from pathlib import Path

import pytest

from benchmarks.latency.__main__ import main
from benchmarks.latency.tables import median_of_ratios


def test_old_runtimes_that_are_not_there_are_named_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        main(["--dataset", "portraits.zip", "--base", "modnet.ckpt", "--legacy", str(tmp_path)])
    assert f"{tmp_path} lacks OpenVINO 2021.4.2 and 2022.3.2" in capsys.readouterr().err


def test_median_of_ratios_is_exact_when_both_of_a_turn_are_slowed_down_alike() -> None:
    slow = [10.0, 14.0, 13.0, 10.0]  # the machine slows down; who is slower, and by how much, stays
    assert median_of_ratios(slow, [ms / 2 for ms in slow]) == pytest.approx((2.0, 2.0, 2.0))


def test_median_of_ratios_has_an_interval_around_it_when_turns_scatter() -> None:
    ratio = median_of_ratios([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)
    assert ratio.value == 3.0
    assert 1.0 <= ratio.low < 3.0 < ratio.high <= 5.0
    assert median_of_ratios([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == ratio
