"""docs/results.md says what the benchmarks have left, and shows all of it."""

from benchmarks.results import DOCUMENT, MARKED, TABLES, filled
from benchmarks.retraining import RESULTS
from benchmarks.retraining_report import Results


def test_results_document_has_the_tables_of_the_benchmarks() -> None:
    text = DOCUMENT.read_text()
    assert {found["name"] for found in MARKED.finditer(text)} == TABLES.keys()
    assert filled(text, Results(RESULTS)) == text, "run: python -m benchmarks.results"
