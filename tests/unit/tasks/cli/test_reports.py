"""`modnet device reports` on a store in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.device.documents.latency_report import Comparison
from infra.device.stores.folder_store import FolderStore
from infra.fleet.rows import KEY, keep
from tasks.cli import main
from tests.unit.infra.fleet.test_findings import NEW, OLD, ROW


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    store = FolderStore(tmp_path / "store")
    rows = [
        replace(ROW, key="1", doubts=("it throttled",)),
        replace(ROW, key="2", release_id=NEW, started_at="20261130T120000.000000Z"),
        replace(ROW, key="3", device="attic", target="cpu-fp32", status="failed", reason="\x1b[2J", p50_ms=None),
        replace(ROW, key="4", device="door", comparison=Comparison(OLD, 9, 0.9, 0.8, 0.95)),
    ]
    keep(store, {row.key: row for row in rows})
    return store


def test_reports_are_shown_newest_first_and_by_what_is_asked(store: FolderStore, run: Any) -> None:
    assert [row["key"] for row in run("device", "reports")["reports"]] == ["2", "1", "3", "4"]
    assert [row["key"] for row in run("device", "reports", "--device", "kitchen", "--last", 1)["reports"]] == ["2"]
    assert [row["key"] for row in run("device", "reports", "--target", "cpu-fp32")["reports"]] == ["3"]
    (row,) = run("device", "reports", "--release", OLD, "--device", "door")["reports"]
    assert row["comparison"]["ratio"] == 0.9
    assert run("device", "reports", "--device", "nobody") == {"reports": []}


def test_the_table_says_all_of_a_row_and_moves_no_cursor(
    store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["device", "reports"]) == 0
    said = capsys.readouterr().out
    assert "reports: 4 of 4" in said
    assert "| kitchen | cpu-int8 | aaaaaaaaaaaa | openvino | 10.0 (9.0 to 11.0) |  | measured; it throttled |" in said
    assert "| 0.900 (0.800 to 0.950) | measured |" in said
    assert r"failed; \x1b[2J" in said
    assert "\x1b" not in said


def test_a_store_where_nothing_was_collected_shows_nothing(store: FolderStore, run: Any) -> None:
    store.delete(KEY)
    assert run("device", "reports") == {"reports": []}
