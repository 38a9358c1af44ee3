"""Identity is zero, a known offset is known."""

import numpy as np
import pytest

from modnet.evaluation.metrics import mad, mse


@pytest.mark.parametrize("metric", [mse, mad])
def test_metric_is_zero_when_alphas_are_equal(metric) -> None:
    alpha = np.random.default_rng(0).random((7, 5), dtype=np.float32)
    assert metric(alpha, alpha.copy()) == 0


def test_metrics_equal_a_known_offset() -> None:
    alpha = np.full((4, 6), 0.25, dtype=np.float32)
    assert mse(alpha + np.float32(0.5), alpha) == pytest.approx(0.25)
    assert mad(alpha - np.float32(0.25), alpha) == pytest.approx(0.25)
