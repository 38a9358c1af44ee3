"""`modnet config`: the settings of a nightly run."""

from __future__ import annotations

import os
from typing import Any

from modnet.configs import SHIPPED, TRAIN, CompressConfig, DatasetConfig
from modnet.errors import CheckpointError, DatasetError
from tasks.cli.flags import Options, Result


def config(options: Options) -> Result:
    """The parameters of a compress run, as the Prefect deployment takes them."""
    chosen: CompressConfig = getattr(CompressConfig, options.profile)(_checkpoint(options.base))
    update: dict[str, Any] = {}
    if options.dataset is not None:
        is_path = options.dataset not in ("synthetic", "ppm-100") and "://" not in options.dataset
        update["dataset"] = DatasetConfig(source=_archive(options.dataset) if is_path else options.dataset)
    if options.pruning:  # how long Taylor looks is the profile's affair
        looks = chosen.pruning[0].model_dump(include={"taylor_images", "taylor_steps"})
        update["pruning"] = tuple(pruning.model_copy(update=looks) for pruning in options.pruning)
    return {"config": chosen.model_copy(update=update).model_dump(mode="json")}


def _checkpoint(base: str) -> str | None:
    """A path is made absolute, since another process reads it.

    Raises:
        CheckpointError: there is no such file.
    """
    if base == TRAIN:
        return None
    if base != SHIPPED and not os.path.isfile(base):
        raise CheckpointError(f"--base {base}: no such file; wanted {SHIPPED}, {TRAIN}, or the path of a checkpoint")
    return base if base == SHIPPED else os.path.abspath(base)


def _archive(dataset: str) -> str:
    """The path, made absolute, of a data set.

    Raises:
        DatasetError: there is no such file.
    """
    if not os.path.isfile(dataset):
        what = "is a folder" if os.path.isdir(dataset) else "no such file"
        raise DatasetError(f"--dataset {dataset}: {what}; wanted synthetic, ppm-100, a zip or a URL")
    return os.path.abspath(dataset)
