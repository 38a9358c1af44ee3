"""The picture of sparse training can be read and shows what it was given."""

import cv2
import numpy as np
import pytest

from modnet.evaluation.gamma_plot import gamma_plot
from modnet.records import ScaleDistribution


def at_bin(index: int, value: float) -> ScaleDistribution:
    counts = [0] * 20
    counts[index] = 10
    return ScaleDistribution(counts=tuple(counts), quintiles=(value,) * 5)


@pytest.mark.parametrize("epochs", [1, 3], ids=lambda count: f"{count} epochs")
def test_gamma_plot_differs_when_the_histograms_do(epochs: int) -> None:
    pictures = [
        cv2.imdecode(np.frombuffer(gamma_plot([at_bin(index, 1.0)] * epochs, "scales"), np.uint8), cv2.IMREAD_COLOR)
        for index in (3, 17)
    ]
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 50
