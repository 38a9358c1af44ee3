"""`modnet config`: the settings of a nightly run."""

from __future__ import annotations

import os
from typing import Any

from modnet.compress_config import DEMO_LOOKS, CompressConfig
from modnet.configs import SHIPPED, SHIPPED_PRUNED, TRAIN, UNPRUNED
from tasks.cli.flags import Options, Result


def config(options: Options) -> Result:
    """The parameters of a compress run, as the Prefect deployment takes them."""
    given: dict[str, Any] = {
        "profile": options.profile,
        "base": {"checkpoint": _absolute(options.base, SHIPPED, TRAIN)},
    }
    if options.dataset is not None:
        is_url = "://" in options.dataset
        source = options.dataset if is_url else _absolute(options.dataset, "synthetic", "ppm-100")
        given["dataset"] = {"source": source}
    if options.pruning:  # how long Taylor looks is the profile's affair
        looks = DEMO_LOOKS if options.profile == "demo" else {}
        given["pruning"] = tuple(one.model_copy(update=looks) for one in options.pruning)
    if options.start is not None:
        given["start"] = _absolute(options.start, UNPRUNED, SHIPPED_PRUNED)
    if options.max_mse_ratio is not None:
        given["budget"] = {"max_mse_ratio": options.max_mse_ratio}
    return {"config": CompressConfig.model_validate(given).model_dump(mode="json")}


def _absolute(named: str, *words: str) -> str:
    """A path is made absolute, since another process reads it; a word with a meaning of its own stays."""
    return named if named in words else os.path.abspath(named)
