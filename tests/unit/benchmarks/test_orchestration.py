"""The arithmetic of benchmarks/orchestration.py on cases worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import orchestration


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], 0.0),
        ([(2.0, 5.0)], 3.0),
        ([(0.0, 1.0), (3.0, 5.0)], 3.0),
        ([(0.0, 2.0), (2.0, 3.0)], 3.0),
        ([(0.0, 4.0), (1.0, 6.0)], 6.0),
        ([(0.0, 9.0), (1.0, 2.0), (3.0, 4.0)], 9.0),
        ([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0)], 4.0),
        ([(4.0, 1.0)], 0.0),
    ],
    ids=["none", "one", "apart", "touching", "overlapping", "nested", "unsorted", "backwards"],
)
def test_covered_s_counts_each_second_once(intervals: list[tuple[float, float]], expected: float) -> None:
    assert orchestration.covered_s(intervals) == expected


def test_tasks_s_leaves_out_what_lies_outside_the_stage() -> None:
    stage = orchestration.Stage("retrain", 10.0, 20.0, [(8.0, 12.0), (18.0, 25.0), (30.0, 40.0)])
    assert (stage.wall_s, stage.tasks_s) == (10.0, 4.0)


def test_table_splits_the_whole_time_into_gaps_tasks_and_orchestration() -> None:
    prune = orchestration.Stage("prune", 13.0, 23.0, [(14.0, 18.0), (15.0, 22.0)])
    report = orchestration.Stage("publish_report", 24.0, 27.0, [(24.0, 27.0)])
    assert orchestration.table(orchestration.FlowRun(due=0.0, start=10.0, end=40.0, stages=[prune, report])) == [
        "| stage | gap before, s | wall, s | tasks, s | orchestration, s |",
        "|---|---:|---:|---:|---:|",
        "| start of the flow's process | 10.0 | 0.0 | 0.0 | 0.0 |",
        "| prune | 3.0 | 10.0 | 8.0 | 2.0 |",
        "| publish_report | 1.0 | 3.0 | 3.0 | 0.0 |",
        "| end of the flow | 13.0 | 0.0 | 0.0 | 0.0 |",
        "| sum | 27.0 | 13.0 | 11.0 | 2.0 |",
        "| share of 40.0 s | 67.5 % | 32.5 % | 27.5 % | 5.0 % |",
    ]


def test_table_is_all_gap_when_there_is_no_stage() -> None:
    lines = orchestration.table(orchestration.FlowRun(due=0.0, start=1.0, end=4.0, stages=[]))
    assert lines[-1] == "| share of 4.0 s | 100.0 % | 0.0 % | 0.0 % | 0.0 % |"


def _run(identity: str, seconds: tuple[int | None, int | None], **fields: Any) -> dict[str, Any]:
    start, end = (None if one is None else f"2026-01-01T00:00:{one:02}Z" for one in seconds)
    return {"id": identity, "start_time": start, "end_time": end, **fields}


def test_stages_of_are_subflows_and_own_tasks_by_start() -> None:
    parent = _run("p", (0, 50))
    subflows = [_run("s2", (21, 29), parent_task_run_id="t2"), _run("s1", (2, 19), parent_task_run_id="t1")]
    task_runs = [
        _run("t3", (30, 40), flow_run_id="p", name="publish_report-13e"),
        _run("t2", (20, 30), flow_run_id="p", name="train-baseline-0"),
        _run("t1", (1, 20), flow_run_id="p", name="prune-0"),
        _run("a", (3, 9), flow_run_id="s1", name="prune 0.5"),
        _run("b", (4, None), flow_run_id="s1", name="prune 0.4"),
        _run("c", (None, None), flow_run_id="s1", name="prune 0.3"),
        _run("d", (22, 28), flow_run_id="s2", name="base"),
        _run("t4", (None, None), flow_run_id="p", name="never-0"),
    ]
    stages = orchestration.stages_of(parent, subflows, task_runs)
    origin = orchestration.seconds("2026-01-01T00:00:00Z")
    found = [(one.name, one.start - origin, one.wall_s, one.tasks_s) for one in stages]
    assert found == [
        ("prune", 2.0, 17.0, 16.0),
        ("train-baseline", 21.0, 8.0, 6.0),
        ("publish_report", 30.0, 10.0, 10.0),
    ]


def test_main_says_what_to_start_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestration.main(["--folder", str(tmp_path)]) == 1
    assert "make up" in capsys.readouterr().err
