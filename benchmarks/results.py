"""Fills the tables of docs/results.md from what the benchmarks have left, so that no figure is copied by hand.

python -m benchmarks.results

Between `<!-- table: NAME -->` and `<!-- end -->` stands what `TABLES` makes of the JSONs in retraining/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping

from benchmarks.latency import COMPARED, ON_OLD_RUNTIMES, REFERENCE, UNPRUNED, median_of_ratios, tables
from benchmarks.retraining import RESULTS
from benchmarks.retraining_report import (
    BASE,
    LATENCY,
    PUBLISHED,
    Results,
    recipe_differences,
    sizes_table,
    smallest_accepted,
    study_differences,
    study_table,
)
from benchmarks.retraining_runs import OTHERS, SIZES, STUDY
from modnet.evaluation.intervals import ratio_interval
from modnet.files import write_atomically
from tasks.leaderboard import markdown_table

DOCUMENT = RESULTS.parents[1] / "docs" / "results.md"
MARKED = re.compile(r"(<!-- table: (?P<name>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


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


def _of_latency(title: str) -> Callable[[Results], str]:
    """One of the tables of `benchmarks.latency`, by the beginning of its title."""

    def table(results: Results) -> str:
        found = tables(results.read(LATENCY))
        return next(markdown_table(rows) for name, rows in found.items() if name.startswith(title))

    return table


TABLES: Mapping[str, Callable[[Results], str]] = {
    "beside published": beside_published,
    "sizes": lambda results: sizes_table(results, SIZES, OTHERS),
    "recipes": lambda results: recipe_differences(results, SIZES, OTHERS),
    "smallest": lambda results: smallest_accepted(results, SIZES),
    "latency": _of_latency("Latency"),
    "measuring": _of_latency(COMPARED),
    "old runtimes": _of_latency(ON_OLD_RUNTIMES),
    "study": lambda results: study_table(results, STUDY),
    "differences": lambda results: study_differences(results, STUDY),
}


def filled(text: str, results: Results) -> str:
    """The document with its tables as the results say.

    Raises:
        KeyError: a table that does not exist is marked.
    """
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found['name']](results)}\n\n{found[3]}", text)


def main() -> int:
    """Writes the document, where it changes."""
    text = DOCUMENT.read_text()
    if (now := filled(text, Results(RESULTS))) != text:
        write_atomically(DOCUMENT, now.encode())
        sys.stdout.write(f"{DOCUMENT.relative_to(RESULTS.parents[1])} has changed\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
