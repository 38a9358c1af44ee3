"""`modnet config`: the settings of a nightly run."""

from __future__ import annotations

import os
from typing import Any

from modnet.compress_config import DEMO_LOOKS, CompressConfig
from modnet.configs import SHIPPED, SHIPPED_PRUNED, TRAIN, UNPRUNED, BudgetConfig
from tasks.cli.flags import Options, Result, Verbs
from tasks.cli.pruning_shorthand import FORMS, prunings


def add_to(verbs: Verbs) -> None:
    """Adds the verbs of this file."""
    configuring = verbs.add("config", config)
    configuring.add_argument("--profile", choices=("demo", "standard"), default="demo", help="(default: demo)")
    configuring.add_argument("--dataset", help="synthetic, ppm-100, a zip or a URL (default: synthetic)")
    configuring.add_argument(
        "--base",
        default=SHIPPED,
        help=f"the unpruned network: {SHIPPED} (the project's own), {TRAIN} (one trained in the run), or the path of "
        f"a checkpoint (default: {SHIPPED})",
    )
    configuring.add_argument("--pruning", type=prunings, help=f"candidates (default: the profile's): {FORMS}")
    configuring.add_argument(
        "--start",
        help=f"what candidates are pruned from: {UNPRUNED}, {SHIPPED_PRUNED} (the small network that the project "
        f"brings along), or the path of another small network (default: {SHIPPED_PRUNED} in a demo without --base and "
        f"--pruning, else {UNPRUNED})",
    )
    configuring.add_argument(
        "--max-mse-ratio",
        type=float,
        help="the fastest candidate wins among those whose tune MSE is at most so many times the unpruned network's "
        f"(default: {BudgetConfig().max_mse_ratio:g})",
    )


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
