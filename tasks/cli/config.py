"""`modnet config`: the settings of a nightly run."""

import os
from typing import Any

from modnet.configs import ReleaseConfig, WinnerLimits
from modnet.configs.search import SearchConfig
from modnet.errors import CheckpointError, ConfigError, DatasetError
from modnet.shipped import SHIPPED, SHIPPED_PRUNED
from tasks.cli.fields import given_config
from tasks.cli.flags import Options, Result
from tasks.configs.baseline import TRAIN, UNPRUNED
from tasks.configs.compress import CompressConfig


def config(options: Options) -> Result:
    """Prints the parameters of a compress run, as the Prefect deployment takes them."""
    given: dict[str, Any] = {"profile": options.profile, "base": {}, "dataset": {"workload": options.workload}}
    if options.base is not None:
        given["base"] = {"checkpoint": _checkpoint("--base", options.base, SHIPPED, TRAIN)}
    given["winner_limits"] = given_config(WinnerLimits, options)
    given["release"] = given_config(ReleaseConfig, options)
    if options.dataset is not None:
        is_path = options.dataset not in ("synthetic", "ppm-100") and "://" not in options.dataset
        given["dataset"]["source"] = _archive(options.dataset) if is_path else options.dataset
    if options.pruning is not None:
        given["pruning"] = options.pruning
    if options.search is not None and options.pruning is not None:
        raise ConfigError("--search: asks for candidates by itself, got --pruning as well; wanted one of them")
    if options.search is not None:
        given["search"] = given_config(SearchConfig, options)
    if options.start is not None:
        given["start"] = _checkpoint("--start", options.start, UNPRUNED, SHIPPED_PRUNED)
    return {"config": CompressConfig.model_validate(given).model_dump(mode="json")}


def _checkpoint(flag: str, named: str, *words: str) -> str:
    """A path is made absolute, since another process reads it; a word with a meaning of its own stays."""
    if named in words:
        return named
    if not os.path.isfile(named):
        raise CheckpointError(f"{flag} {named}: no such file; wanted {', '.join(words)}, or the path of a checkpoint")
    return os.path.abspath(named)


def _archive(dataset: str) -> str:
    if not os.path.isfile(dataset):
        what = "is a folder" if os.path.isdir(dataset) else "no such file"
        raise DatasetError(f"--dataset {dataset}: {what}; wanted synthetic, ppm-100, a zip or a URL")
    return os.path.abspath(dataset)
