"""docs/public-reports.md names a test for every report, and these tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROWS = [
    line.strip("| ").split(" | ")
    for line in (PROJECT / "docs" / "public-reports.md").read_text().splitlines()
    if line.startswith("|") and not line.startswith(("| report |", "|---"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", "-", row[0])[:40])
def test_every_public_report_has_a_verdict_and_tests_that_exist(row: list[str]) -> None:
    _, _, verdict, held_by = row
    assert re.match(r"\*\*(held|mended|open)\*\*", verdict)
    named = re.findall(r"`(tests/[^`:]+)(?:::([^`]+))?`", held_by)
    assert named
    for file, test in named:
        assert f"def {test or 'test_'}" in (PROJECT / file).read_text()
