"""Tables and plots of `benchmarks.retraining`, from the results that its runs have left and nothing else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks.retraining_runs import WAYS, Runs
from modnet.evaluation.intervals import difference_interval, mean_interval
from modnet.evaluation.pictures import png
from modnet.files import write_atomically
from modnet.records import MattingScores
from tasks.leaderboard import markdown_table

BASE = "base"  # the unpruned network's scores stand beside the others'
PUBLISHED = (("MODNet", 18.32, 0.009912), ("MODNet-P", 4.38, 0.018713))  # the seed's, other data, training graph

Json = dict[str, Any]


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

    def val(self, name: str) -> MattingScores:
        """A run's scores on val."""
        return MattingScores.model_validate(self.read(name)["val"])


def sizes_table(results: Results, sizes: Runs, short: Runs) -> str:
    """One row for each network: size, errors, and by how much they differ from the unpruned network's."""
    base = results.val(BASE)
    rows = []
    for name, result in results.by_cost([BASE, *sizes, *short]):
        val = results.val(name)
        differs = difference_interval(val, base, "mse")
        rows.append(
            {
                "network": name,
                "M": f"{result['parameters'] / 1e6:.3f}",
                "GMAC": f"{result['macs'] / 1e9:.2f}",
                "tune MSE": f"{result['tune']['mse']:.6f}",
                "val MSE": f"{val.mse:.6f}",
                "× base": f"{val.mse / base.mse:.2f}",
                "val MSE less base's (95 %)": f"{differs.mean:+.5f} ({differs.low:+.5f} to {differs.high:+.5f})",
                "val MAD": f"{val.mad:.6f}",
                "MAD × base": f"{val.mad / base.mad:.2f}",
                "images": str(result.get("images_seen", "")),
                "min": f"{result['seconds'] / 60:.0f}" if "seconds" in result else "",
            }
        )
    return markdown_table(rows)


def sizes_plot(results: Results, sizes: Runs, short: Runs) -> bytes:
    """MSE against MACs, and the published networks, whose data and counting are others."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    points = []
    for runs, label in (
        (sizes, "retrained, 21 epochs; photographs"),
        (short, "retrained, 13 epochs; photographs"),
        ([BASE], "unpruned; photographs"),
    ):
        found = [
            (one["macs"] / 1e9, one["val"]["mse"], name.removesuffix("-short")) for name, one in results.by_cost(runs)
        ]
        axes.plot([x for x, _, _ in found], [y for _, y, _ in found], "o-", label=label)
        points += found
    axes.plot(
        [x for _, x, _ in PUBLISHED],
        [y for _, _, y in PUBLISHED],
        "s--",
        color="grey",
        alpha=0.7,
        label="MODNet-ModelCompression as published: other photographs, MACs of the training graph",
    )
    for number, (x, y, name) in enumerate((*points, *((x, y, name) for name, x, y in PUBLISHED))):
        above = 6 if number % 2 else -12  # neighbours in cost lie close together
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, above), fontsize=9)
    axes.margins(x=0.12)
    axes.set(xlabel="GMAC, 512×512", ylabel="MSE on val, protocol seed", title="Size and accuracy after retraining")
    axes.set_ylim(0, 0.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    return png(figure)


def study_table(results: Results, study: Runs) -> str:
    """One row for each way: its mean over seeds against the base's and against the other weights to start from."""
    rows = []
    for cell in itertools.product(*WAYS):
        seeds = _seeds(results, study, cell)
        if not seeds:
            continue
        val, base = _mean_scores(seeds), results.val(BASE)
        mean = mean_interval(val, "mse")
        row = {
            "start": cell[0],
            "trained": cell[1],
            "teacher": "yes" if cell[2] == "taught" else "no",
            "val MSE (95 %)": f"{mean.mean:.6f} ({mean.low:.6f} to {mean.high:.6f})",
            "of each seed": ", ".join(f"{one['val']['mse']:.6f}" for one in seeds),
            "× base": f"{val.mse / base.mse:.2f}",
            "MAD × base": f"{val.mad / base.mad:.2f}",
            "less inherited's (95 %)": "",
            "less untaught's (95 %)": "",
            "min a run": f"{np.mean([one['seconds'] for one in seeds]) / 60:.0f}",
        }
        for column, other in (
            ("less inherited's (95 %)", ("inherited", *cell[1:])),
            ("less untaught's (95 %)", (*cell[:2], "alone")),
        ):
            if other != cell and (others := _seeds(results, study, other)):
                differs = difference_interval(val, _mean_scores(others), "mse")
                row[column] = f"{differs.mean:+.5f} ({differs.low:+.5f} to {differs.high:+.5f})"
        rows.append(row)
    return markdown_table(rows)


def study_plot(results: Results, study: Runs) -> bytes:
    """Each run's MSE, by way; the intervals are those of the ways' means over images."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    cells = [cell for cell in itertools.product(*WAYS) if _seeds(results, study, cell)]
    for x, cell in enumerate(cells):
        seeds = _seeds(results, study, cell)
        mean = mean_interval(_mean_scores(seeds), "mse")
        colour = "C0" if cell[0] == "inherited" else "C1"
        axes.errorbar(
            x, mean.mean, [[mean.mean - mean.low], [mean.high - mean.mean]], fmt="_", color=colour, capsize=5, alpha=0.6
        )
        axes.plot([x] * len(seeds), [one["val"]["mse"] for one in seeds], "o", color=colour)
    axes.set_xticks(range(len(cells)), ["\n".join(cell) for cell in cells])
    axes.set(ylabel="MSE on val, protocol seed", title="Ways of retraining the headline plan")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    return png(figure)


def _seeds(results: Results, study: Runs, cell: tuple[str, ...]) -> list[Json]:
    """What is known of one way, a result for each seed."""
    names = [name for name in study if name.rsplit("-", 1)[0] == "-".join(cell)]
    return [results.read(name) for name in names if results.has(name)]


def _mean_scores(results: list[Json]) -> MattingScores:
    """Scores of val whose errors of every image are means over results, so that intervals speak of images alone."""
    scores = [MattingScores.model_validate(one["val"]) for one in results]
    errors = ("mse", "mad", "unknown_mse", "unknown_mad")
    images = [
        same[0].model_copy(update={name: float(np.mean([getattr(one, name) for one in same])) for name in errors})
        for same in zip(*(one.per_image for one in scores), strict=True)
    ]
    means = {name: float(np.mean([getattr(one, name) for one in scores])) for name in errors}
    return scores[0].model_copy(update={"per_image": tuple(images), **means})
