"""docs/results.md says what the benchmarks have left, and shows all of it."""

from benchmarks.making.results_document import DOCUMENT, MARKED, TABLES, filled
from benchmarks.retraining.results import BASE, RETRAINING, Results
from benchmarks.retraining.runs import GROUPS
from modnet.data.download import sha256_of_file


def test_results_document_has_the_tables_of_the_benchmarks() -> None:
    text = DOCUMENT.read_text()
    assert {found["name"] for found in MARKED.finditer(text)} == TABLES.keys()
    assert filled(text, Results(RETRAINING)) == text, "run: python -m benchmarks.making.results_document"


def test_results_were_made_by_the_settings_that_stand_in_the_code() -> None:
    results = Results(RETRAINING)
    base = results.read(BASE)["base"]
    every = {name: run for runs in GROUPS.values() for name, run in runs.items() if results.has(name)}
    assert {"headline", "inherited-fixed-taught-0"} <= every.keys()
    assert {results.read(name)["data"] for name in every} == {results.read("headline")["data"]}
    for name, run in every.items():
        asked = {
            "base": base,
            "plan": sha256_of_file(run.plan),
            "seed": run.seed,
            "phases": [phase.model_dump(mode="json") for phase in run.phases],
        }
        assert {key: results.read(name)[key] for key in asked} == asked, name
