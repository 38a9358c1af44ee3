"""What people may ask of matting by name. Nothing heavy is imported here: help shall come at once."""

from typing import Literal, get_args

Metric = Literal["mse", "mad", "sad", "grad", "conn"]  # errors of a matte, see `metrics.py`

ALL_METRICS: tuple[Metric, ...] = get_args(Metric)
FEW_METRICS: tuple[Metric, ...] = ("mse", "mad")

SHEET_IMAGES = 8  # how many images a sheet of the worst ones shows

ResultKind = Literal["alpha", "foreground", "composite"]
"""What `modnet infer` makes of an image, see `predict/results.py`."""

MAX_DOUBT = 0.01  # of a matte that a teacher made, as `modnet.workloads.matting.pseudo_labels` measures it
