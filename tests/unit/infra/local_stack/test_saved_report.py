"""A run's report stands on this machine when its store has ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local_stack.saved_report import remove_old_reports, save_report


class Objects(BaseHTTPRequestHandler):
    """A store with a page and no picture."""

    def do_GET(self) -> None:
        is_there = self.path in ("/report.html?signed", "/history.html?signed")
        self.send_response(200 if is_there else 403)
        self.end_headers()
        self.wfile.write(b"<!doctype html>" if is_there else b"no")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_save_report_writes_what_the_store_has_and_says_what_it_has_not(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    artifacts = [
        {"key": "report", "type": "markdown", "data": f"[Report of this run]({address}/report.html?signed)"},
        {"key": "pareto", "type": "image", "data": f"{address}/pareto.png"},
        {"key": "sheet", "type": "image", "data": "file:///etc/passwd"},
        {"key": "history", "type": "markdown", "data": f"[History of nights]({address}/history.html?signed)"},
        {"key": "leaderboard", "type": "table", "data": "[]"},
    ]
    page, plot, sheet, history = save_report(artifacts, tmp_path / "reports")
    assert page == f"report: {tmp_path / 'reports' / 'report.html'}"
    assert (tmp_path / "reports" / "report.html").read_bytes() == b"<!doctype html>"
    assert plot == "pareto: not saved, the store says: HTTP Error 403: Forbidden"
    assert sheet == "sheet: not saved, the store says: 'file:///etc/passwd' is no address of a store"
    assert history == f"history: {tmp_path / 'reports' / 'history.html'}"
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"report.html", "history.html"}


def test_old_reports_go_but_for_the_newest_and_what_is_no_report(tmp_path: Path) -> None:
    names = [f"2026-11-0{day}_06-30-00" for day in (1, 2, 3, 4)]
    for name in (*names, "mine"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / names[1])
    old = [tmp_path / names[0], tmp_path / names[2]]
    assert remove_old_reports(tmp_path, 1, timedelta(days=14), remove=False) == old
    assert all(one.is_dir() for one in old)
    assert remove_old_reports(tmp_path, 1, timedelta(days=14)) == old
    assert {one.name for one in tmp_path.iterdir()} == {names[1], names[3], "mine"}
