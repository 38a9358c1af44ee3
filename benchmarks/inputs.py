"""What benchmarks start from: an archive of portraits, an unpruned network, plans of pruning, earlier results."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modnet.data.archives import extract_archive
from modnet.errors import ConfigError
from modnet.pruning.plan import PruningPlan
from modnet.pruning.surgery import apply_plan
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import DatasetIndex, index_dataset
from modnet.workloads.matting.data.protocols import Protocol
from modnet.workloads.matting.network.modnet import MODNet

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
PLANS = RESULTS / "plans"
HEADLINE_PLAN = PLANS / "headline.json"
PROTOCOL: Protocol = "modelcompression"  # of all scores that are compared with MODNet-ModelCompression's
UNPRUNED = "unpruned"

Json = dict[str, Any]


def input_parser(description: str, *, required: bool = True) -> argparse.ArgumentParser:
    """A parser with the flags of portraits and the unpruned network: `--dataset`, `--base`, `--cache`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--dataset", type=Path, required=required, help="zip of portraits")
    made.add_argument("--base", type=Path, required=required, help="unpruned checkpoint")
    made.add_argument("--cache", type=Path, default=Path(".modnet/cache/datasets"), help="where the zip is extracted")
    return made


def extracted(archive: Path, cache: Path) -> tuple[Path, DatasetIndex]:
    """The folder below `cache` that an archive is extracted to, and what is in it."""
    folder = extract_archive(archive, cache)
    return folder, index_dataset(folder)


def networks(base: Path, plans: Iterable[Path]) -> dict[str, MODNet]:
    """The unpruned network first, then that of each plan by the name of its file. Pruned ones are not retrained."""
    unpruned = load(base)
    read = {path.stem: PruningPlan.from_json(path.read_text(), str(path)) for path in plans}
    return {UNPRUNED: unpruned} | {name: apply_plan(unpruned, plan) for name, plan in read.items()}


def require_same(question: Mapping[str, Any], found: Mapping[str, Any], path: Path, flag: str) -> None:
    """Refuses what an earlier call made of another question.

    Raises:
        ConfigError: `path` was made with other values, which are named; `flag` says where to write elsewhere.
    """
    if other := [name for name, value in question.items() if found.get(name) != value]:
        raise ConfigError(f"{path} was made with other {', '.join(other)}: name another {flag}, or remove it")
