"""What comes from outside is shown with its control characters escaped, in every place where it is shown."""

from __future__ import annotations

import logging
import signal
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flows.benchmark
from infra.device.documents.latency_report import LatencyReport
from infra.device.stores.folder_store import FolderStore
from infra.local_stack.__main__ import main
from infra.local_stack.nightly import RunFollower, table_lines
from modnet.configs import BenchmarkConfig
from modnet.errors import DatasetError
from tasks import benchmark, cli
from tasks.tables import device_rows, html_page, markdown_table
from tests.unit.infra.local_stack.test_nightly import ScriptedApi, nothing

FORGED = "gone\x1b[2J\x1b]0;title\x07\r\n10:00:00 INFO    pi cpu-fp32: p50 1.0 ms\u2028\u202egnp.exe"
ESCAPED = r"gone\x1b[2J\x1b]0;title\x07\r\n10:00:00 INFO    pi cpu-fp32: p50 1.0 ms\u2028\u202egnp.exe"


def is_safe(text: str) -> bool:
    """Its only control characters end lines that are ours."""
    return not any(unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") for one in text if one != "\n")


@pytest.fixture
def report() -> LatencyReport:
    return LatencyReport(
        release_id="0123456789ab",
        target="cpu-fp32",
        device="pi",
        runtime=f"openvino{FORGED}",
        status="failed",
        started_at="20261128T000000.000000Z",
        conditions={},
        reason=FORGED,
        precision=FORGED,
    )


def test_tables_and_the_page_show_what_a_device_wrote(report: LatencyReport) -> None:
    rows = device_rows([report])
    assert rows[0]["status"] == f"failed: {ESCAPED}"
    raw = [{"device": FORGED, "reason": f"<b>{FORGED}|"}]
    page = html_page("T", FORGED, FORGED, {"Devices": raw}, {}).decode()
    assert f">&lt;b&gt;{ESCAPED}|</td>" in page
    table = markdown_table(raw)
    assert len(table.splitlines()) == len(table_lines(raw)) + 1 == 3
    for text in (*rows[0].values(), page, table, *table_lines(raw)):
        assert is_safe(text)


def test_the_log_of_a_run_shows_what_a_device_wrote(
    report: LatencyReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = FolderStore(tmp_path / "store")
    store.put(f"reports/{report.release_id}/pi/x.json", b'{"\\u001b[2J": 1}')
    monkeypatch.setattr(benchmark, "this_store", lambda: store)
    monkeypatch.setattr(benchmark, "read_manifest", lambda trust, release_id: ManifestOfNothing())
    monkeypatch.setattr(benchmark, "this_trust", lambda: None)
    for module in (benchmark, flows.benchmark):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("run"))
    collected = [*benchmark.collect_reports.fn(report.release_id, BenchmarkConfig(wait_s=0, min_reports=0)), report]
    monkeypatch.setattr(flows.benchmark, "collect_reports", lambda release_id, config: collected)
    with caplog.at_level(logging.INFO):
        flows.benchmark.benchmark.fn(report.release_id, BenchmarkConfig(wait_s=0, min_reports=0))
    refused, shown = caplog.messages
    assert refused.startswith("refused report")
    assert shown == f"pi cpu-fp32: {ESCAPED}"
    assert is_safe(refused)


class ManifestOfNothing:
    targets: tuple[str, ...] = ()


def test_the_followed_log_shows_no_line_that_is_not_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    RunFollower(ScriptedApi(("Completed", [FORGED])), "run").follow(nothing)
    printed = capsys.readouterr().out
    assert is_safe(printed)
    (forged,) = [line for line in printed.splitlines() if "p50 1.0 ms" in line]
    assert forged.startswith(17 * " " + "10:00:00 INFO")


def test_the_local_stack_shows_the_name_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--folder", str(tmp_path), "nightly", "--parameters-file", FORGED]) == 3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert is_safe(capsys.readouterr().err)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., object]], int]]:
    """A function that runs `modnet config` with another function behind it."""

    def run(function: Callable[..., object]) -> int:
        monkeypatch.setattr("tasks.cli.config.config", function)
        return cli.main(["config"])

    return run


def test_the_command_line_shows_names_in_results_errors_and_warnings(
    verb: Callable[[Callable[..., object]], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn_and_fail(options: object) -> None:
        logging.getLogger("modnet.data").warning("unreadable: %s", FORGED)
        raise DatasetError(f"{FORGED} holds no images")

    monkeypatch.setattr(logging.root, "handlers", [])
    assert verb(lambda options: {"mattes": FORGED, "table": markdown_table([{"a": FORGED}])}) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == f"mattes: {ESCAPED}"
    assert len(printed.splitlines()) == 4
    assert is_safe(printed)
    assert verb(warn_and_fail) == 3
    assert capsys.readouterr().err == f"unreadable: {ESCAPED}\nmodnet: error: {ESCAPED} holds no images\n"


def test_the_command_line_shows_what_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["config", FORGED, "name that is no UTF-8 \udcff"])
    printed = capsys.readouterr().err
    assert f"unrecognized arguments: {ESCAPED}" in printed
    assert is_safe(printed)
