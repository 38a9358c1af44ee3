"""Scores of any predictor on a split of a data set."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modnet.errors import DatasetError
from modnet.progress import progress_over
from modnet.records import ImageScore, Scores
from modnet.workloads.matting.data.images import checked_alpha, read_pair
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair
from modnet.workloads.matting.data.protocols import Protocol
from modnet.workloads.matting.data.trimap import unknown_band
from modnet.workloads.matting.metrics import ERROR_MAPS, ERROR_NAMES, Alpha, summarise
from modnet.workloads.matting.names import ALL_METRICS, FEW_METRICS, Metric

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Image uint8 (H, W, 3), RGB → alpha float32 (H, W) in [0, 1]."""


def evaluate(
    predictor: Predictor,
    folder: Path,
    index: DatasetIndex,
    split: Literal["tune", "val", "fit", "train"],
    protocol: Protocol,
    metrics: Iterable[Metric] = FEW_METRICS,
) -> Scores:
    """Errors of each image at original size, over all its pixels and within its unknown band, and their means.

    Means count every image the same; those of the unknown band are over the images that have one. `mse` and `mad` are
    always among the metrics.

    Args:
        predictor: brings an image to the network and the matte back by `protocol`, which is written into the scores.
        folder: what the paths of `index` are relative to.

    Raises:
        DatasetError: the split is empty or pairs cannot be read, all of which are counted, or the predictor returns
            another size or values that are no alpha.
    """
    pairs = index.split(split)
    if not pairs:
        raise DatasetError(f"split {split!r} of {folder} has no images; there is nothing to evaluate")
    wanted = tuple(metric for metric in ALL_METRICS if metric in {*FEW_METRICS, *metrics})
    scores = []
    for pair in progress_over(pairs, f"evaluating {split}", "image"):
        try:
            image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        except DatasetError as error:
            raise _unreadable(folder, pairs) from error
        predicted = checked_alpha(predictor(image), image, pair.stem)
        scores.append(score_image(pair.stem, predicted, alpha, wanted))
    values = {name: [score.errors[name] for score in scores if name in score.errors] for name in ERROR_NAMES}
    return Scores(
        split=split,
        protocol=protocol,
        images=len(scores),
        errors={name: float(np.mean(found)) for name, found in values.items() if found},
        per_image=tuple(scores),
    )


def _unreadable(folder: Path, pairs: Sequence[Pair]) -> DatasetError:
    """What to say when a pair cannot be read: all that cannot, so that they are mended at once."""
    problems = []
    for pair in pairs:
        try:
            read_pair(folder / pair.image, folder / pair.matte)
        except DatasetError as error:
            problems.append(str(error))
    named = "; ".join(problems[:5])
    return DatasetError(f"{len(problems)} of {len(pairs)} pairs of {folder} cannot be read: {named}")


def score_image(stem: str, predicted: Alpha, alpha: Alpha, metrics: Sequence[Metric]) -> ImageScore:
    """Errors of one image from two mattes, float32 (H, W) in [0, 1]; `mse` and `mad` are among the metrics."""
    is_unknown = unknown_band(alpha)
    has_band = bool(is_unknown.any())
    errors: dict[str, float] = {}
    for metric in metrics:
        error_map = ERROR_MAPS[metric](predicted, alpha)
        errors[metric] = summarise(metric, error_map)
        if has_band:
            errors[f"unknown_{metric}"] = summarise(metric, error_map, is_unknown)
    return ImageScore(stem=stem, errors=errors)
