"""What a run's timeline says, and that nobody waits for whoever shows it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest

from infra.errors import WorkerLostError
from modnet.report.run_tables import Row
from tasks import timeline
from tasks.timeline import Timeline


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Row]]:
    monkeypatch.setattr(timeline, "get_run_logger", lambda: logging.getLogger("run"))
    return []


def compute(on: Timeline, name: str, place: str | None = "node-1 (pid 7)", error: Exception | None = None) -> None:
    with on.computing(name, "retrain") as began:
        if place is not None:
            began(place)
        if error is not None:
            raise error


def test_a_row_says_where_a_computation_was_and_how_it_ended(drawn: list[list[Row]]) -> None:
    one = Timeline(drawn.append)
    one.found("score a", "evaluate")
    with pytest.raises(WorkerLostError):
        compute(one, "retrain a", error=WorkerLostError("its node\x1b died"))
    compute(one, "retrain a", "node-2 (pid 8)")
    with pytest.raises(TimeoutError):
        compute(one, "retrain b", None, TimeoutError("no node"))
    rows = one.rows()
    assert [(row["computation"], row["stage"], row["try"], row["where"], row["how it ended"]) for row in rows] == [
        ("score a", "evaluate", "", "", "found in the store"),
        ("retrain a", "retrain", "1", "node-1 (pid 7)", r"WorkerLostError: its node\x1b died; tried again"),
        ("retrain a", "retrain", "2", "node-2 (pid 8)", "done"),
        ("retrain b", "retrain", "1", "", "TimeoutError: no node"),
    ]
    assert [row["took"] for row in rows] == ["", "0:00:00", "0:00:00", ""]
    assert drawn[-1] == rows


def test_it_is_drawn_while_a_computation_is_under_way(drawn: list[list[Row]]) -> None:
    """So that a run that is killed has one."""
    has_drawn = threading.Event()

    def draw(rows: list[Row]) -> None:
        drawn.append(rows)
        has_drawn.set()

    one = Timeline(draw)
    with one.computing("retrain a", "retrain") as began:
        began("node-1 (pid 7)")
        assert has_drawn.wait(60)
        (row,) = drawn[-1]
        assert (row["where"], row["took"], row["how it ended"]) == ("node-1 (pid 7)", "", "under way")


def test_rows_of_many_threads_are_all_there(drawn: list[list[Row]]) -> None:
    one = Timeline(drawn.append)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: compute(one, f"retrain {number % 10}"), range(200)))
    rows = drawn[-1]
    assert len(rows) == 200
    assert sorted(row["try"] for row in rows if row["computation"] == "retrain 3") == sorted(map(str, range(1, 21)))


def test_a_server_that_refuses_ends_no_work_and_is_told_once(
    drawn: list[list[Row]], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(rows: list[Row]) -> None:
        raise ConnectionError("nobody\nthere")

    one = Timeline(refuse)
    with caplog.at_level(logging.WARNING, "run"):
        for _ in range(5):
            compute(one, "retrain a")
        _wait(lambda: one._drawing is None)
    (line,) = caplog.messages
    assert line == r"the timeline cannot be shown, the work goes on: ConnectionError: nobody\nthere"


def test_a_server_that_does_not_answer_holds_work_up_once_and_shortly(
    drawn: list[list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "_DRAWN_WITHIN_S", 0.05)
    answer = threading.Event()

    def draw(rows: list[Row]) -> None:
        answer.wait(60)
        drawn.append(rows)

    one = Timeline(draw)
    began = time.monotonic()
    for _ in range(100):
        compute(one, "retrain a")
    assert time.monotonic() - began < 30
    assert drawn == []
    answer.set()
    _wait(lambda: one._drawing is None)
    assert len(drawn[-1]) == 100


def test_the_picture_has_a_line_for_each_computation_and_escapes_what_it_is_told(drawn: list[list[Row]]) -> None:
    one = Timeline(drawn.append)
    one.found("score a", "evaluate")
    assert one.picture() is None
    compute(one, "retrain <b>")
    with pytest.raises(ValueError, match="of no use"):
        compute(one, "retrain c", "<script>", ValueError("of no use"))
    picture = one.picture()
    assert picture is not None
    titles = [element.text for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "retrain <b>, try 1, 0:00:00 node-1 (pid 7): done",
        "retrain c, try 1, 0:00:00 <script>: ValueError: of no use",
    ]
    for _ in range(100):
        compute(one, "score a")
    picture = one.picture()
    assert picture is not None
    assert picture.count("<title>") == 60
    assert "and 42 shorter ones" in picture


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
