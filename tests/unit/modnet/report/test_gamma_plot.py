"""The picture of sparse training can be read and shows what it was given."""

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from modnet.records import ScaleDistribution
from modnet.report.training_plots import gamma_plot


def at_bin(index: int, value: float) -> ScaleDistribution:
    counts = [0] * 20
    counts[index] = 10
    return ScaleDistribution(counts=tuple(counts), quintiles=(value,) * 5)


def test_gamma_plot_shows_every_quintile_when_all_are_near_one() -> None:
    """As before the first epoch: on a logarithmic axis the lines lay over each other."""
    near_one = ScaleDistribution(counts=(0,) * 16 + (10, 0, 0, 0), quintiles=(0.98, 0.99, 1.0, 1.01, 1.08))
    picture = cv2.imdecode(np.frombuffer(gamma_plot([near_one] * 2, "scales"), np.uint8), cv2.IMREAD_COLOR)
    above_legend = picture[: int(0.85 * len(picture))]
    for colour in ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple"):
        wanted = 255 * np.array(to_rgb(colour))[::-1]
        assert (np.abs(above_legend - wanted).max(axis=2) < 3).sum() > 200, colour


@pytest.mark.parametrize("epochs", [1, 3], ids=lambda count: f"{count} epochs")
def test_gamma_plot_differs_when_the_histograms_do(epochs: int) -> None:
    pictures = [
        cv2.imdecode(np.frombuffer(gamma_plot([at_bin(index, 1.0)] * epochs, "scales"), np.uint8), cv2.IMREAD_COLOR)
        for index in (3, 17)
    ]
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 50
