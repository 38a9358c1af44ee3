"""The images that a network does worst on, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modnet.data.archives import DatasetIndex
from modnet.data.images import read_pair
from modnet.evaluation.evaluate import Predictor
from modnet.evaluation.pictures import MatteRow, matte_sheet
from modnet.records import MattingScores

SHEET_IMAGES = 8


def worst_sheet(predictor: Predictor, folder: Path, index: DatasetIndex, scores: MattingScores) -> bytes:
    """A sheet of the `SHEET_IMAGES` images of largest MSE, the worst first: image, true and predicted matte, PNG.

    The third matte is |predicted - true|. Mattes are predicted anew: keeping those of a whole split would take
    gigabytes.

    Args:
        predictor: what the scores are of.
        folder: what the paths of `index` are relative to.
        index: what the scores were measured on.
        scores: of `predictor`.

    Raises:
        DatasetError: a pair cannot be read.
    """
    pairs = {pair.stem: pair for pair in index.split(scores.split)}
    rows = []
    for score in sorted(scores.per_image, key=lambda score: (-score.mse, score.stem))[:SHEET_IMAGES]:
        pair = pairs[score.stem]
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        predicted = predictor(image)
        rows.append(
            MatteRow(f"{score.stem}\nMSE {score.mse:.4f}", image, (alpha, predicted, np.abs(predicted - alpha)))
        )
    return matte_sheet(rows, ("true matte", "predicted", "difference"))
