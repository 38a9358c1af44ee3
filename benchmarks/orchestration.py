"""Where the time of a completed flow run went, by stage: tasks, or the orchestration around them.

python -m benchmarks.orchestration [--run ID]     (Prefect runs: `make up`)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from infra.errors import StackError
from infra.local_stack.prefect_api import PrefectApi
from infra.local_stack.stack import Stack

PROJECT = Path(__file__).resolve().parents[1]
FLOW = "compress"

Interval = tuple[float, float]  # start and end in seconds, of one clock


class Stage(NamedTuple):
    """A flow, or a task of the parent flow itself, and when its task runs ran."""

    name: str
    start: float
    end: float
    running: list[Interval]

    @property
    def wall_s(self) -> float:
        """Seconds from its start to its end."""
        return self.end - self.start

    @property
    def tasks_s(self) -> float:
        """Seconds in which at least one of its task runs ran."""
        return covered_s((max(start, self.start), min(end, self.end)) for start, end in self.running)


class FlowRun(NamedTuple):
    """A completed flow run; its stages follow each other."""

    due: float
    start: float
    end: float
    stages: list[Stage]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table of one run and returns 0, or 1 when there is none to show."""
    parser = argparse.ArgumentParser(description="Where the time of a completed flow run went, by stage.")
    parser.add_argument("--run", metavar="ID", help=f"flow run; default: the {FLOW} run that completed last")
    parser.add_argument("--folder", type=Path, default=PROJECT / ".modnet", help="of the stack's data and logs")
    options = parser.parse_args(arguments)
    try:
        stack = Stack(options.folder, PROJECT, os.environ)
        if stack.status()["prefect"] is None:
            raise StackError(f"{stack.folder}: Prefect does not run; start it with `make up`")
        run_id = options.run or stack.api.latest_run(FLOW)
        if run_id is None:
            raise StackError(f"{stack.ui_url}: no run of {FLOW} has completed")
        print(f"Flow run {run_id}\n\n" + "\n".join(table(read_run(stack.api, run_id))))
    except StackError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def read_run(api: PrefectApi, run_id: str) -> FlowRun:
    """A completed flow run with its stages in the order of their start.

    Raises:
        StackError: it has not completed, or Prefect does not answer or refuses.
    """
    run = api.run(run_id)
    if run["state"]["type"] != "COMPLETED":
        raise StackError(f"flow run {run_id}: is {run['state']['name']}, wanted one that has completed")
    subflows = [api.run(one) for one in api.subflow_runs([run_id])]
    task_runs = list(api.task_runs([run_id, *(one["id"] for one in subflows)]))
    due, start, end = (seconds(run[name]) for name in ("expected_start_time", "start_time", "end_time"))
    return FlowRun(due, start, end, stages_of(run, subflows, task_runs))


def stages_of(
    run: Mapping[str, Any], subflows: Sequence[Mapping[str, Any]], task_runs: Sequence[Mapping[str, Any]]
) -> list[Stage]:
    """Stages of a completed flow run in the order of their start; what never started is left out.

    Args:
        run: the flow run, as Prefect's REST API gives it.
        subflows: the flow runs that it started.
        task_runs: of all these flow runs.
    """
    subflow_of = {subflow["parent_task_run_id"]: subflow for subflow in subflows}
    stages = []
    for task_run in (one for one in task_runs if one["flow_run_id"] == run["id"]):
        # The parent shows a subflow as a task run of its own, which computes nothing.
        subflow = subflow_of.get(task_run["id"])
        within = [task_run] if subflow is None else [one for one in task_runs if one["flow_run_id"] == subflow["id"]]
        stage = subflow or task_run
        if stage["start_time"]:
            name = task_run["name"].rpartition("-")[0] or task_run["name"]  # Prefect numbers them: retrain-0
            running = [interval(one, run["end_time"]) for one in within if one["start_time"]]
            stages.append(Stage(name, *interval(stage, run["end_time"]), running))
    return sorted(stages, key=lambda stage: stage.start)


def interval(run: Mapping[str, Any], last: str) -> Interval:
    """When a flow run or task run ran; up to `last` when Prefect was never told of its end."""
    return seconds(run["start_time"]), seconds(run["end_time"] or last)


def seconds(timestamp: str) -> float:
    """Seconds since 1970 of an ISO 8601 time with its zone."""
    return datetime.fromisoformat(timestamp).timestamp()


def covered_s(intervals: Iterable[Interval]) -> float:
    """Seconds that lie in at least one interval."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def table(run: FlowRun) -> list[str]:
    """The run as lines of a Markdown table: a row per stage, then the sums and their shares of the whole time.

    The whole time is from when the run was due to its end; it is the sum of gaps, tasks and orchestration.
    """
    ends = [run.start, *(stage.end for stage in run.stages)]
    gaps = [stage.start - end for stage, end in zip(run.stages, ends, strict=False)]
    rows = [("start of the flow's process", run.start - run.due, 0.0, 0.0)]
    rows += [(stage.name, gap, stage.wall_s, stage.tasks_s) for stage, gap in zip(run.stages, gaps, strict=True)]
    rows += [("end of the flow", run.end - ends[-1], 0.0, 0.0)]
    gap_s, wall_s, tasks_s = (sum(column) for column in list(zip(*rows, strict=True))[1:])
    whole_s = run.end - run.due
    lines = ["| stage | gap before, s | wall, s | tasks, s | orchestration, s |", "|---|---:|---:|---:|---:|"]
    for name, gap, wall, tasks in [*rows, ("sum", gap_s, wall_s, tasks_s)]:
        lines.append(f"| {name} | {gap:.1f} | {wall:.1f} | {tasks:.1f} | {wall - tasks:.1f} |")
    shares = [f"{100 * part / whole_s:.1f} %" for part in (gap_s, wall_s, tasks_s, wall_s - tasks_s)]
    lines.append(f"| share of {whole_s:.1f} s | {' | '.join(shares)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
