"""Scores of any predictor on a split of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from modnet.data.archives import DatasetIndex
from modnet.data.images import Protocol, read_pair
from modnet.errors import DatasetError
from modnet.evaluation.metrics import mad, mse
from modnet.records import ImageScore, MattingScores

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Image uint8 (H, W, 3), RGB → alpha float32 (H, W) in [0, 1]."""


def evaluate(
    predictor: Predictor,
    folder: Path,
    index: DatasetIndex,
    split: Literal["tune", "val", "fit", "train"],
    protocol: Protocol,
) -> MattingScores:
    """Errors at original size over all pixels of each image, then the unweighted mean over images.

    Args:
        predictor: brings an image to the network and the matte back by `protocol`, which is written into the scores.
        folder: what the paths of `index` are relative to.

    Raises:
        DatasetError: the split is empty or a pair cannot be read, or the predictor returns another size.
    """
    pairs = index.split(split)
    if not pairs:
        raise DatasetError(f"split {split!r} of {folder} has no images; there is nothing to evaluate")
    scores = []
    for pair in tqdm(pairs, desc=f"evaluating {split}", unit="image", disable=None):
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        predicted = predictor(image)
        if predicted.shape != alpha.shape:
            raise DatasetError(f"{pair.stem}: the predictor gave a matte of {predicted.shape}, wanted {alpha.shape}")
        scores.append(ImageScore(stem=pair.stem, mse=mse(predicted, alpha), mad=mad(predicted, alpha)))
    return MattingScores(
        split=split,
        protocol=protocol,
        images=len(scores),
        mse=float(np.mean([score.mse for score in scores])),
        mad=float(np.mean([score.mad for score in scores])),
        per_image=tuple(scores),
    )
