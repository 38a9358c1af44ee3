"""The picture of a training tells its lines apart."""

import cv2
import numpy as np
from matplotlib.colors import to_rgb

from modnet.records import EpochReport
from modnet.report.training_plots import training_plot

TERMS = ("semantic", "detail", "matte", *(f"distilled_{term}" for term in "sdaf"))


def pixels_of(colour: str, tune_error: float | None) -> int:
    losses = {term: 0.1 * number for number, term in enumerate(TERMS, start=1)}
    history = [EpochReport(losses=losses, learning_rate=1e-3, tune_error=tune_error)] * 3
    picture = cv2.imdecode(np.frombuffer(training_plot(history, "training"), np.uint8), cv2.IMREAD_COLOR)
    return int((np.abs(picture - 255 * np.array(to_rgb(colour))[::-1]).max(axis=2) < 3).sum())


def test_training_plot_has_one_red_line_the_tune_error() -> None:
    assert pixels_of("tab:red", None) == 0
    assert pixels_of("tab:red", 0.01) > 500
