"""Tables of `benchmarks.retraining`, from the results that its runs have left and nothing else."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.latency import REFERENCE, UNPRUNED, Ratio, median_of_ratios
from benchmarks.retraining_runs import FACTORS, WAYS, Runs
from modnet.evaluation.intervals import Interval, difference_interval, mean_interval, ratio_interval
from modnet.files import write_atomically
from modnet.records import Scored, Scores
from tasks.leaderboard import markdown_table

BASE = "base"  # the unpruned network's scores stand beside the others'
LATENCY = "latency"  # samples of `benchmarks.latency` with the plans of the sizes
ACCEPTED = 1.1  # times the unpruned network's MSE

Json = dict[str, Any]


class Published(NamedTuple):
    """A network of MODNet-ModelCompression: errors on its own photographs, MACs of the deployed graph by our count."""

    name: str
    parameters: float  # millions
    gmac: float
    megabytes: float
    mse: float
    mad: float
    fp32_ms: float  # i7-8565U
    stick_ms: float


PUBLISHED = (
    Published("MODNet", 6.45, 15.47, 25.64, 0.009912, 0.013661, 88.86, 167.93),
    Published("MODNet-P", 1.34, 3.66, 5.66, 0.018713, 0.022816, 45.93, 101.93),
)


class Latency(NamedTuple):
    """Of a network's INT8 form, float parts in f32: how many times the reference's speed, and the time that follows.

    Its own median is of moments that were fast or slow; the ratio is of rounds, which all networks share.
    """

    milliseconds: float
    faster: Ratio


class Results(NamedTuple):
    """A folder with one JSON for each run that is done."""

    folder: Path

    def path(self, name: str) -> Path:
        """Of a run's JSON."""
        return self.folder / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether a run is done."""
        return self.path(name).exists()

    def read(self, name: str) -> Json:
        """What a run has left: conditions, `parameters`, `macs`, and scores of every image by split."""
        result: Json = json.loads(self.path(name).read_text())
        return result

    def write(self, name: str, content: Json) -> None:
        """Makes a run done."""
        write_atomically(self.path(name), json.dumps(content, indent=1).encode() + b"\n")

    def by_cost(self, names: Iterable[str]) -> list[tuple[str, Json]]:
        """Those of the runs that are done, the costliest first."""
        found = [(name, self.read(name)) for name in names if self.has(name)]
        return sorted(found, key=lambda one: -one[1]["macs"])

    def int8_latency(self, name: str) -> Latency | None:
        """Of a network that was timed, otherwise None."""
        rows = self.read(LATENCY)["rows"] if self.has(LATENCY) else {}
        row = rows.get(f"{UNPRUNED if name == BASE else name} cpu-int8, f32")
        if row is None:
            return None
        reference = rows[REFERENCE]["samples_ms"]
        faster = median_of_ratios(reference, row["samples_ms"])
        return Latency(statistics.median(reference) / faster.value, faster)

    def val(self, name: str) -> Scores:
        """A run's scores on val."""
        return Scores.model_validate(self.read(name)["val"])


def sizes_table(results: Results, sizes: Runs, others: Runs) -> str:
    """One row for each network: size, latency, errors, and by how much they differ from the unpruned network's."""
    base = results.val(BASE)
    rows = []
    for name, result in results.by_cost([BASE, *sizes, *others]):
        val = results.val(name)
        rows.append(
            {
                "network": name,
                "M": f"{result['parameters'] / 1e6:.3f}",
                "GMAC": f"{result['macs'] / 1e9:.2f}",
                "INT8 ms": f"{latency.milliseconds:.1f}" if (latency := results.int8_latency(name)) else "",
                "times unpruned FP32": f"{latency.faster:.2f}" if latency else "",
                "tune MSE": f"{result['tune']['mse']:.6f}",
                "val MSE (95 %)": _interval(mean_interval(val, "mse")),
                "× base (95 %)": "" if name == BASE else _ratio(val, base, "mse"),
                "minus base (95 %)": "" if name == BASE else _interval(difference_interval(val, base, "mse"), "+"),
                "val MAD (95 %)": _interval(mean_interval(val, "mad")),
                "MAD × base (95 %)": "" if name == BASE else _ratio(val, base, "mad"),
                "images seen": str(result.get("images_seen", "")),
                "min": f"{result['seconds'] / 60:.0f}" if "seconds" in result else "",
            }
        )
    return markdown_table(rows)


def smallest_accepted(results: Results, sizes: Runs) -> str:
    """Says which network is the cheapest of those that err at most `ACCEPTED` times as much as the unpruned one."""
    base = results.val(BASE)
    most = ACCEPTED * base.error
    asked = f"val MSE of at most {ACCEPTED:g} times the unpruned network's, {most:.6f}"
    accepted = [(name, one) for name, one in results.by_cost(sizes) if results.val(name).error <= most]
    if not accepted:
        return f"No network has a {asked}."
    name, result = accepted[-1]
    ratio = ratio_interval(results.val(name), base, "mse")
    certain = "is below" if ratio.high <= ACCEPTED else "allows more than"
    return (
        f"The cheapest with a {asked}: {name}, {result['parameters'] / 1e6:.3f} M, {result['macs'] / 1e9:.2f} GMAC. "
        f"It has {ratio.mean:.2f} times as much, and the interval, {ratio.low:.2f} to {ratio.high:.2f}, {certain} that."
    )


def recipe_differences(results: Results, sizes: Runs, others: Runs) -> str:
    """One row for each two recipes that a plan was retrained by: how much more the second one errs."""
    rows = []
    done = [(name, run.plan) for name, run in (*sizes.items(), *others.items()) if results.has(name)]
    for (first, plan), (second, same) in itertools.combinations(done, 2):
        if plan == same:
            val, against = results.val(second), results.val(first)
            rows.append(
                {
                    "difference": f"{second} minus {first}",
                    "val MSE (95 %)": _interval(difference_interval(val, against, "mse"), "+"),
                    "val MAD (95 %)": _interval(difference_interval(val, against, "mad"), "+"),
                }
            )
    return markdown_table(rows)


def study_table(results: Results, study: Runs) -> str:
    """One row for each way: the mean of its seeds."""
    base = results.val(BASE)
    rows = []
    for cell in itertools.product(*WAYS):
        if not (seeds := seeds_of(results, study, cell)):
            continue
        runs = list(seeds.values())
        val = mean_scores(runs)
        rows.append(
            dict(zip(FACTORS, cell, strict=True))
            | {
                "px": str(runs[0]["phases"][0]["image_size"]),
                "epochs": str(runs[0]["phases"][0]["epochs"]),
                "tune MSE": f"{np.mean([one['tune']['mse'] for one in runs]):.6f}",
                "val MSE (95 %)": _interval(mean_interval(val, "mse")),
                "of each seed": ", ".join(f"{one['val']['mse']:.6f}" for one in runs),
                "× base (95 %)": _ratio(val, base, "mse"),
                "val MAD (95 %)": _interval(mean_interval(val, "mad")),
                "MAD × base (95 %)": _ratio(val, base, "mad"),
                "min a run": f"{np.mean([one['seconds'] for one in runs]) / 60:.0f}",
            }
        )
    return markdown_table(rows)


def study_differences(results: Results, study: Runs) -> str:
    """One row for each pair of ways that differ in one thing, over the seeds that both have.

    A difference is called shown where the interval over photographs excludes zero and each of at least two seeds has
    its sign: one training says nothing about another.
    """
    rows = []
    for number, (first, second) in enumerate(WAYS):
        others = [way for position, way in enumerate(WAYS) if position != number]
        for rest in itertools.product(*others):
            one, other = ((*rest[:number], value, *rest[number:]) for value in (second, first))
            seeds, against = seeds_of(results, study, one), seeds_of(results, study, other)
            if not (common := sorted(seeds.keys() & against.keys())):
                continue
            val, wanted = (mean_scores([runs[seed] for seed in common]) for runs in (seeds, against))
            mse = difference_interval(val, wanted, "mse")
            of_seeds = [seeds[seed]["val"]["mse"] - against[seed]["val"]["mse"] for seed in common]
            is_shown = mse.low * mse.high > 0 and all(value * mse.mean > 0 for value in of_seeds)
            answer = "yes" if is_shown else "no"
            rows.append(
                {
                    "difference": f"{second} minus {first}",
                    "where": ", ".join(rest),
                    "val MSE (95 %)": _interval(mse, "+"),
                    "of each seed": ", ".join(f"{value:+.5f}" for value in of_seeds),
                    "val MAD (95 %)": _interval(difference_interval(val, wanted, "mad"), "+"),
                    "shown": answer if len(common) > 1 else "one seed",
                }
            )
    return markdown_table(rows)


def _interval(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}.5f} ({interval.low:{sign}.5f} to {interval.high:{sign}.5f})"


def _ratio(scores: Scores, others: Scores, error: str) -> str:
    ratio = ratio_interval(scores, others, error)
    return f"{ratio.mean:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def seeds_of(results: Results, study: Runs, cell: tuple[str, ...]) -> dict[int, Json]:
    """What is known of one way, a result for each seed."""
    names = {run.seed: name for name, run in study.items() if name.rsplit("-", 1)[0] == "-".join(cell)}
    return {seed: results.read(name) for seed, name in names.items() if results.has(name)}


def mean_scores(results: list[Json]) -> Scores:
    """Scores of val whose errors of every image are means over results, so that intervals speak of images alone."""
    scores = [Scores.model_validate(one["val"]) for one in results]
    images = [
        same[0].model_copy(update={"errors": _mean_errors(same)})
        for same in zip(*(one.per_image for one in scores), strict=True)
    ]
    return scores[0].model_copy(update={"per_image": tuple(images), "errors": _mean_errors(scores)})


def _mean_errors(scored: Sequence[Scored]) -> dict[str, float]:
    names = [name for name in scored[0].errors if all(name in one.errors for one in scored)]
    return {name: float(np.mean([one.errors[name] for one in scored])) for name in names}
