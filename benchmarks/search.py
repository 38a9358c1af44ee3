"""How much sooner does a search find good networks than chance does, and what does halving cost?

    python -m benchmarks.search [--seeds 100]

Replays on candidates that `benchmarks.making.search_curves` has trained to the end, without training anything. Whoever
asks for a candidate gets the nearest one of these that nobody has tried yet. An epoch costs 1. Four ways spend the same
epochs: chance and today's list train whole candidates, the search trains them in rungs, and once more whole. Prints the
hypervolume of (error, latency) of what is trained to the end after each quarter of all epochs, as a share of that of
all candidates: the mean over seeds and its interval of 95 %. Exit code 1 unless the search is surely ahead of chance
after half of the epochs, and halving alone reaches the front of everything with at most 45 % of them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from benchmarks.making.search_curves import CURVES, SPACE
from modnet.configs.search import SearchConfig
from modnet.errors import ConfigError
from modnet.records import SearchEvent
from modnet.search.halving import Reached, next_to_go_on, rung_epochs
from modnet.search.hypervolume import Point, hypervolume
from tasks.search_proposals import Parameters
from tasks.search_state import SearchState

QUARTERS = (0.25, 0.5, 0.75, 1.0)
CONFIG = SearchConfig(space=SPACE, first_epochs=1, reduction=3)
LISTED_GMACS = (10.0, 6.5, 3.7)  # today's list
MOST_OF_HALVING = 0.45


@dataclass(frozen=True)
class Curve:
    """One candidate, trained to the end: its errors on *tune* after each epoch, as multiples of the base's."""

    parameters: Parameters
    latency: float
    errors: tuple[float, ...]

    @property
    def point(self) -> Point:
        """What it is worth once it is trained: the best weights are kept."""
        return min(self.errors), self.latency


Spent = Iterator[tuple[int, str]]
"""Epochs that were spent, and the candidate that is trained to the end by them; empty where none is."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="How much sooner a search finds good networks than chance does.")
    parser.add_argument("--seeds", type=int, default=100, help="at least 2")
    options = parser.parse_args(arguments)
    curves = read_curves()
    ways: Mapping[str, Callable[[int], Spent]] = {
        "chance": lambda seed: by_chance(curves, seed),
        "the list": lambda seed: by_list(curves),
        "search, whole trainings": lambda seed: by_search(curves, seed, is_halved=False),
        "search, in rungs": lambda seed: by_search(curves, seed, is_halved=True),
    }
    print(f"{len(curves)} candidates of {len(next(iter(curves.values())).errors)} epochs, {options.seeds} seeds\n")
    print(f"| way | {' | '.join(f'after {quarter:.0%}' for quarter in QUARTERS)} |\n|---|{'---:|' * len(QUARTERS)}")
    shares = {}
    for name, way in ways.items():
        seeds = range(options.seeds if name != "the list" else 1)
        shares[name] = np.array([_shares(curves, way(seed)) for seed in seeds])
        print(f"| {name} | {' | '.join(_interval(column) for column in shares[name].T)} |")
    lead = shares["search, in rungs"][:, 1] - shares["chance"][:, 1]
    halved = np.array([halving_alone(curves, seed) for seed in range(options.seeds)])
    print(f"\nahead of chance after half of the epochs by {_interval(lead)}")
    print(f"halving alone: {_interval(halved[:, 0])} of the epochs, {_interval(halved[:, 1])} of the hypervolume")
    is_ahead = lead.mean() > 1.96 * lead.std(ddof=1) / math.sqrt(len(lead))
    is_well = is_ahead and halved[:, 0].mean() <= MOST_OF_HALVING and halved[:, 1].mean() > 0.999
    return 0 if is_well else 1


def read_curves() -> dict[str, Curve]:
    """The candidates that are trained.

    Raises:
        ConfigError: there are none.
    """
    found = {}
    for path in sorted(CURVES.glob("*.json")):
        read: dict[str, Any] = json.loads(path.read_text())
        if "errors" in read:
            errors = tuple(error / read["base_error"] for error in read["errors"])
            found[path.stem] = Curve(read["parameters"], read["latency_ratio"], errors)
    if not found:
        raise ConfigError(f"{CURVES}: no candidate is trained; see benchmarks.making.search_curves")
    return found


def by_chance(curves: Mapping[str, Curve], seed: int) -> Spent:
    """Whole trainings of candidates in a random order."""
    names = list(curves)
    random.Random(seed).shuffle(names)
    for name in names:
        yield len(curves[name].errors), name


def by_list(curves: Mapping[str, Curve]) -> Spent:
    """The candidates that a list would name each night; after them it has nothing to train."""
    tried: set[str] = set()
    for gmacs in LISTED_GMACS:
        wanted = {"gmacs": gmacs, "input_shape": "480x320", "criterion": "taylor", "multiple": 16, "batch_only": True}
        name = _nearest(curves, wanted | {"learning_rate": 1e-3}, tried)
        assert name is not None
        tried.add(name)
        yield len(curves[name].errors), name


def by_search(curves: Mapping[str, Curve], seed: int, *, is_halved: bool) -> Spent:
    """What the search would train, one after the other."""
    epochs = len(next(iter(curves.values())).errors)
    rungs = rung_epochs(epochs, CONFIG.reduction, CONFIG.first_epochs if is_halved else epochs)
    state = SearchState(rungs)
    state.add(SearchEvent(kind="began", night_id="replay", written_by="replay", spent_s=0))
    config = CONFIG.model_copy(update={"candidates": len(curves)})
    while (step := state.next_step(config, seed)) is not None:
        name = step.candidate_id or _nearest(curves, step.parameters, set(state.parameters))
        assert name is not None
        curve, before = curves[name], rungs[step.rung - 1] if step.rung else 0
        told = {"night_id": "replay", "written_by": "replay", "spent_s": 0, "candidate_id": name, "rung": step.rung}
        state.add(SearchEvent(kind="started", parameters=None if step.rung else dict(curve.parameters), **told))
        is_whole = rungs[step.rung] == epochs
        error = min(curve.errors) if is_whole else curve.errors[rungs[step.rung] - 1]
        state.add(SearchEvent(kind="reached", error_ratio=error, latency_ratio=curve.latency, **told))
        yield rungs[step.rung] - before, name if is_whole else ""


def halving_alone(curves: Mapping[str, Curve], seed: int) -> tuple[float, float]:
    """Every candidate in a random order, trained in rungs: shares of the epochs and of the hypervolume of all."""
    names = list(curves)
    random.Random(seed).shuffle(names)
    epochs = len(curves[names[0]].errors)
    rungs = rung_epochs(epochs, CONFIG.reduction, CONFIG.first_epochs)
    reached: dict[str, Reached] = {}
    spent = 0
    for new in names:
        name: str | None = new
        while name is not None:
            errors = reached[name].errors if name in reached else ()
            ends_at = rungs[len(errors)]
            spent += ends_at - (rungs[len(errors) - 1] if errors else 0)
            reached[name] = Reached(curves[name].latency, (*errors, curves[name].errors[ends_at - 1]))
            name = next_to_go_on(reached, len(rungs), CONFIG.reduction)
    trained = [curves[name].point for name, one in reached.items() if len(one.errors) == len(rungs)]
    return spent / (epochs * len(names)), hypervolume(trained) / _whole(curves)


def _whole(curves: Mapping[str, Curve]) -> float:
    return hypervolume(curve.point for curve in curves.values())


def _shares(curves: Mapping[str, Curve], spent: Spent) -> list[float]:
    """Hypervolume of what is trained to the end after each quarter of all epochs, as a share of that of everything."""
    budget = sum(len(curve.errors) for curve in curves.values())
    steps = list(accumulate(spent, lambda sum_, step: (sum_[0] + step[0], step[1]), initial=(0, "")))
    return [
        hypervolume(curves[name].point for used, name in steps if name and used <= quarter * budget) / _whole(curves)
        for quarter in QUARTERS
    ]


def _nearest(curves: Mapping[str, Curve], wanted: Parameters, tried: Collection[str]) -> str | None:
    """The candidate most like what is wanted that nobody has tried; None where all are."""

    def distance(name: str) -> float:
        found = curves[name].parameters
        other = sum(found[one] != wanted[one] for one in ("input_shape", "criterion", "multiple", "batch_only"))
        macs = abs(found["gmacs"] - wanted["gmacs"]) / (SPACE.gmacs.most - SPACE.gmacs.least)
        rate = abs(math.log(found["learning_rate"] / wanted["learning_rate"]))
        return float(other + macs + rate / math.log(SPACE.learning_rate.most / SPACE.learning_rate.least))

    return min((name for name in curves if name not in tried), key=distance, default=None)


def _interval(values: np.ndarray) -> str:
    """Mean over seeds, and its interval of 95 %."""
    error = 1.96 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{values.mean():.3f} ({values.mean() - error:.3f} to {values.mean() + error:.3f})"


if __name__ == "__main__":
    sys.exit(main())
