"""How much an INT8 network may err on labelled photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modnet.export.accuracy_control import AccuracyBound
from modnet.graph_function import GraphFunction
from modnet.protocols import Protocol
from modnet.workloads.matting.data.images import read_pair
from modnet.workloads.matting.data.indexing import Pair
from modnet.workloads.matting.evaluate import predict
from modnet.workloads.matting.metrics import ERROR_MAPS, summarise
from modnet.workloads.matting.predict.predictors import Predictor


def bound_on(
    folder: Path,
    pairs: Sequence[Pair],
    protocol: Protocol,
    *,
    float_mse: float,
    max_relative_increase: float,
    max_float_layers: int,
) -> AccuracyBound:
    """The bound on the MSE at original size, over the pairs of a data set, which are read anew each time.

    Args:
        folder: what the paths of `pairs` are relative to.
        pairs: of the tune split.
        protocol: of the network's input.
        float_mse: as `modnet.workloads.matting.evaluate.evaluate` gives it for the float network.
        max_relative_increase: see `AccuracyBound`.
        max_float_layers: likewise.
    """

    def error_of(matte: GraphFunction, index: int) -> float:
        pair = pairs[index]
        image, alpha = read_pair(folder / pair.image, folder / pair.matte)
        return summarise("mse", ERROR_MAPS["mse"](predict(Predictor(matte, protocol), image, pair.stem), alpha))

    return AccuracyBound(len(pairs), error_of, float_mse, max_relative_increase, max_float_layers)
