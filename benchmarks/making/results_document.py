"""Fills the tables of docs/results.md from what the benchmarks have left, so that no figure is copied by hand.

python -m benchmarks.making.results_document

Between `<!-- table: NAME -->` and `<!-- end -->` stands what `TABLES` makes of the JSONs in results/retraining/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping

from benchmarks.inputs import PROJECT
from benchmarks.latency.tables import COMPARED, ON_OLD_RUNTIMES, tables
from benchmarks.retraining.report import (
    beside_published,
    recipe_differences,
    sizes_table,
    smallest_accepted,
    study_differences,
    study_table,
)
from benchmarks.retraining.results import LATENCY, RETRAINING, Results
from benchmarks.retraining.runs import OTHERS, SIZES, STUDY
from modnet.files import write_atomically
from tasks.tables import markdown_table

DOCUMENT = PROJECT / "docs" / "results.md"
MARKED = re.compile(r"(<!-- table: (?P<name>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


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
    if (now := filled(text, Results(RETRAINING))) != text:
        write_atomically(DOCUMENT, now.encode())
        sys.stdout.write(f"{DOCUMENT.relative_to(PROJECT)} has changed\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
