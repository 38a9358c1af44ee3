"""The images that a network does worst on, to look at."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from modnet.data.images import resize
from modnet.records import ImageScore, Scores
from modnet.report.pictures import SheetRow, sheet
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import DatasetIndex
from modnet.workloads.matting.evaluate import Predictor
from modnet.workloads.matting.names import SHEET_IMAGES

_Value = TypeVar("_Value", bound=np.generic)

_SIDE = 600  # pixels: no image is drawn larger


def worst_images(scores: Scores) -> list[ImageScore]:
    """The `SHEET_IMAGES` scores of largest MSE, the worst first; of equal ones in order of their stems."""
    return sorted(scores.per_image, key=lambda score: (-score.error, score.stem))[:SHEET_IMAGES]


def worst_sheet(predictor: Predictor, folder: Path, index: DatasetIndex, scores: Scores) -> bytes:
    """A sheet of the `worst_images`: image, true matte, predicted matte and |predicted - true|, PNG.

    Mattes are predicted anew: keeping those of a whole split would take gigabytes.

    Raises:
        DatasetError: a pair cannot be read.
    """
    pairs = {pair.stem: pair for pair in index.split(scores.split)}
    rows = []
    for score in worst_images(scores):
        pair = pairs[score.stem]
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        predicted = predictor(image)
        pictures = (_shrunk(image), _shrunk(alpha), _shrunk(predicted), _shrunk(np.abs(predicted - alpha)))
        rows.append(SheetRow(f"{score.stem}\nMSE {score.error:.4f}", pictures))
    return sheet(rows, ("image", "true matte", "predicted", "difference"))


def _shrunk(array: NDArray[_Value]) -> NDArray[_Value]:
    scale = min(1, _SIDE / max(array.shape[:2]))
    return resize(array, *(max(1, round(side * scale)) for side in array.shape[:2]))
