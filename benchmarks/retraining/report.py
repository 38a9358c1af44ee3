"""Tables of `benchmarks.retraining`, from the results that its runs have left and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from benchmarks.inputs import UNPRUNED, Json
from benchmarks.latency.tables import REFERENCE, median_of_ratios
from benchmarks.modelcompression.figures import PUBLISHED
from benchmarks.retraining.results import BASE, LATENCY, Results, scores_of
from benchmarks.retraining.runs import FACTORS, WAYS, Runs
from modnet.evaluation.intervals import Interval, difference_interval, mean_interval, ratio_interval
from modnet.records import Scored, Scores
from tasks.tables import markdown_table

ACCEPTED = 1.1  # times the unpruned network's MSE


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
                "tune MSE": f"{scores_of(result, 'tune').errors['mse']:.6f}",
                "val MSE (95 %)": interval_text(mean_interval(val, "mse")),
                "× base (95 %)": "" if name == BASE else ratio_text(val, base, "mse"),
                "minus base (95 %)": "" if name == BASE else interval_text(difference_interval(val, base, "mse"), "+"),
                "val MAD (95 %)": interval_text(mean_interval(val, "mad")),
                "MAD × base (95 %)": "" if name == BASE else ratio_text(val, base, "mad"),
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
                    "val MSE (95 %)": interval_text(difference_interval(val, against, "mse"), "+"),
                    "val MAD (95 %)": interval_text(difference_interval(val, against, "mad"), "+"),
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
                "tune MSE": f"{np.mean([scores_of(one, 'tune').errors['mse'] for one in runs]):.6f}",
                "val MSE (95 %)": interval_text(mean_interval(val, "mse")),
                "of each seed": ", ".join(f"{scores_of(one, 'val').errors['mse']:.6f}" for one in runs),
                "× base (95 %)": ratio_text(val, base, "mse"),
                "val MAD (95 %)": interval_text(mean_interval(val, "mad")),
                "MAD × base (95 %)": ratio_text(val, base, "mad"),
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
            of_seeds = [
                scores_of(seeds[seed], "val").errors["mse"] - scores_of(against[seed], "val").errors["mse"]
                for seed in common
            ]
            is_shown = mse.low * mse.high > 0 and all(value * mse.mean > 0 for value in of_seeds)
            answer = "yes" if is_shown else "no"
            rows.append(
                {
                    "difference": f"{second} minus {first}",
                    "where": ", ".join(rest),
                    "val MSE (95 %)": interval_text(mse, "+"),
                    "of each seed": ", ".join(f"{value:+.5f}" for value in of_seeds),
                    "val MAD (95 %)": interval_text(difference_interval(val, wanted, "mad"), "+"),
                    "shown": answer if len(common) > 1 else "one seed",
                }
            )
    return markdown_table(rows)


def beside_published(results: Results) -> str:
    """What compression did to the headline and to the published network, each against its own unpruned one."""
    before, after = PUBLISHED
    base, headline = results.read(BASE), results.read("headline")
    measured = results.read(LATENCY)
    samples = {name: row["samples_ms"] for name, row in measured["rows"].items()}
    fp32, int8 = (
        median_of_ratios(samples[REFERENCE], samples[f"headline cpu-{kind}, f32"]) for kind in ("fp32", "int8")
    )
    mse, mad = (ratio_interval(results.val("headline"), results.val(BASE), error) for error in ("mse", "mad"))
    megabytes = {name: size / 1e6 for name, size in measured["size_bytes"].items()}
    rows = [
        (
            "parameters, M",
            _fell(before.parameters, after.parameters),
            _fell(base["parameters"] / 1e6, headline["parameters"] / 1e6),
        ),
        ("GMAC, deployed graph", _fell(before.gmac, after.gmac), _fell(base["macs"] / 1e9, headline["macs"] / 1e9)),
        (
            "FP32 file, MB",
            _fell(before.megabytes, after.megabytes),
            _fell(megabytes[f"{UNPRUNED} cpu-fp32"], megabytes["headline cpu-fp32"]),
        ),
        ("INT8 file, MB", "", _fell(megabytes[f"{UNPRUNED} cpu-int8"], megabytes["headline cpu-int8"])),
        ("MSE", f"{after.mse / before.mse:.2f} times", f"{mse.mean:.2f} ({mse.low:.2f}–{mse.high:.2f}) times"),
        ("MAD", f"{after.mad / before.mad:.2f} times", f"{mad.mean:.2f} ({mad.low:.2f}–{mad.high:.2f}) times"),
        ("CPU, FP32", f"{before.fp32_ms / after.fp32_ms:.2f} times as fast", f"{fp32:.2f} times as fast"),
        ("CPU, INT8 against unpruned FP32", "", f"{int8:.2f} times as fast"),
        ("Neural Compute Stick 2", f"{before.stick_ms / after.stick_ms:.2f} times as fast", "not measured"),
    ]
    return markdown_table(
        [dict(zip(("", "MODNet → MODNet-P, as published", "base → headline"), row, strict=True)) for row in rows]
    )


def _fell(before: float, after: float) -> str:
    return f"{before:.2f} → {after:.2f} ({after / before - 1:+.1%})"


def interval_text(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}.5f} ({interval.low:{sign}.5f} to {interval.high:{sign}.5f})"


def ratio_text(scores: Scores, others: Scores, error: str) -> str:
    ratio = ratio_interval(scores, others, error)
    return f"{ratio.mean:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def seeds_of(results: Results, study: Runs, cell: tuple[str, ...]) -> dict[int, Json]:
    """What is known of one way, a result for each seed."""
    names = {run.seed: name for name, run in study.items() if name.rsplit("-", 1)[0] == "-".join(cell)}
    return {seed: results.read(name) for seed, name in names.items() if results.has(name)}


def mean_scores(results: list[Json]) -> Scores:
    """Scores of val whose errors of every image are means over results, so that intervals speak of images alone."""
    scores = [scores_of(one, "val") for one in results]
    images = [
        same[0].model_copy(update={"errors": _mean_errors(same)})
        for same in zip(*(one.per_image for one in scores), strict=True)
    ]
    return scores[0].model_copy(update={"per_image": tuple(images), "errors": _mean_errors(scores)})


def _mean_errors(scored: Sequence[Scored]) -> dict[str, float]:
    names = [name for name in scored[0].errors if all(name in one.errors for one in scored)]
    return {name: float(np.mean([one.errors[name] for one in scored])) for name in names}
