"""What long work says of itself, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from modnet import progress
from modnet.progress import Progress, progress_over, shown_seconds

PROJECT = Path(__file__).resolve().parents[3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_progress_writes_a_line_every_30_seconds_where_there_is_no_terminal(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    with Progress("training", 10, "step", done=2) as shown:
        for second in (10, 29, 31, 59, 62):
            clock[0] = second
            shown.advance(loss=f"{second / 100:.2f}")
    assert capsys.readouterr().err.splitlines() == [
        "training: 5 of 10 steps (50 %), loss 0.31, 0:31 so far, 0:52 left",
        "training: 7 of 10 steps (70 %), loss 0.62, 1:02 so far, 0:37 left",
    ]


def test_progress_writes_a_line_at_every_milestone_and_nothing_about_short_work(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    assert list(progress_over("abc", "evaluating", "image")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
    with Progress("training", 2, "step") as shown:
        shown.show(epoch="1 of 2")
        clock[0] = 4
        shown.advance()
        shown.milestone(**{"tune MSE": "0.01"})
    assert (
        capsys.readouterr().err
        == "training: 1 of 2 steps (50 %), epoch 1 of 2, tune MSE 0.01, 0:04 so far, 0:04 left\n"
    )


def test_progress_counts_what_has_no_known_end(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    for unit, total, line in (
        ("B", None, "x: 3.5 MB, 0:40 so far"),
        ("B", 7_000_000, "x: 3.5 MB of 7.0 MB, 0:40 so far, 0:40 left"),
        ("frame", None, "x: 3500000 frames, 0:40 so far"),
    ):
        clock[0] = 0
        with Progress("x", total, unit) as shown:
            clock[0] = 40
            shown.advance(3_500_000)
        assert capsys.readouterr().err == f"{line}\n"


def test_progress_is_a_bar_with_facts_and_the_time_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("training", 2, "step") as shown:
        shown.show(epoch="1 of 1")
        shown.advance(loss="0.5")
        shown.advance(loss="0.4")
        shown.milestone()
    drawn = terminal.getvalue()
    assert "\r" in drawn
    assert re.search(r"training: 100%.*2/2 \[\d\d:\d\d<.*epoch 1 of 1, loss 0\.4", drawn)
    assert "so far" not in drawn


def test_shown_seconds_has_hours_when_there_are_some() -> None:
    assert [shown_seconds(seconds) for seconds in (0, 75, 3675)] == ["0:00", "1:15", "1:01:15"]


def test_there_is_one_way_to_show_progress() -> None:
    """What shows its progress in a way of its own is silent in a log file."""
    users = [
        path.relative_to(PROJECT)
        for package in ("modnet", "tasks", "flows", "infra")
        for path in (PROJECT / package).rglob("*.py")
        if re.search(r"^\s*(from|import) (tqdm|rich\.progress)", path.read_text(), re.MULTILINE)
    ]
    assert users == [Path("modnet/progress.py")]
