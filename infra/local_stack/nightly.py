"""One flow run on a single-machine stack: started as the UI does it, followed to its end, and summed up."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from infra.device.shown import shown, shown_lines
from infra.errors import StackError
from infra.local_stack.prefect_api import ENDED, PrefectApi
from infra.local_stack.saved_report import save_report
from infra.local_stack.services import COMPUTING
from infra.local_stack.stack import Stack
from infra.local_stack.sweep import start_again
from infra.local_stack.under_way import Screen, under_way

MAY_BE_CUT = "may-be-cut"
"""Tag of runs that keep no services up: they are short and come often, and the next one does what a cut one did not."""
SUMMED_UP = ("leaderboard", "devices", "gained")
_POLL_S = 1.0
_SILENT_S = 1800.0
_MENDED_TIMES = 5
_MEND_AGAIN_S = 30.0
_CANCELLED_WITHIN_S = 60.0
_LOG_OVERLAP = timedelta(seconds=5)  # lines of several flows arrive a little out of order


def run_nightly(stack: Stack, deployment: str, parameters: dict[str, Any]) -> int:
    """Starts the services, runs a deployment, prints its log, results and end, and stops what it has started.

    Other services stay, and all of them while there are other flow runs. When interrupted, the flow run is cancelled
    first.

    Returns:
        0 when the run completed, else 1.

    Raises:
        StackError: a service does not start or ends by itself, or there is no such deployment.
    """
    run_id, earlier = None, stack.started()
    try:
        print("starting the services that do not run yet", flush=True)
        stack.up()
        run_id = stack.api.start_run(deployment, parameters)
        print(f"{deployment}: {stack.ui_url}/runs/flow-run/{run_id}", flush=True)
        follower, mended = RunFollower(stack.api, run_id), Mended(stack)
        try:
            end = follower.follow(mended.check)
            if again := start_again(stack.api, stack.api.run(run_id)):
                print(f"{run_id} is Crashed, and starts again: {stack.ui_url}/runs/flow-run/{again}", flush=True)
                run_id, follower = again, RunFollower(stack.api, again)
                end = follower.follow(mended.check)
        except KeyboardInterrupt:
            stack.api.cancel(run_id)
            follower.follow(stack.check, limit_s=_CANCELLED_WITHIN_S)
            raise
        artifacts, folder = follower.artifacts(), stack.folder / "reports" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        for line in [*summary(artifacts), *save_report(artifacts, folder)]:
            print(shown_lines(line))
        print(f"release, runs and earlier reports: `make up`, then {stack.ui_url}")
        print(shown(f"{deployment}: {end['name']}{': ' + end['message'] if end['message'] else ''}"), flush=True)
        return 0 if end["type"] == "COMPLETED" else 1
    finally:
        if started := [name for name in stack.started() if name not in earlier]:
            _end_services(stack, started, run_id)


def _end_services(stack: Stack, started: Sequence[str], run_id: str | None) -> None:
    """Ends what was started for this run, unless other flow runs need it by now."""
    try:
        others = [run for run in stack.api.open_runs() if run["id"] != run_id and MAY_BE_CUT not in run["tags"]]
    except StackError:  # without a server nobody's run goes on
        others = []
    if others:
        print(f"services stay up: other flow runs are pending or running ({len(others)}); `make down` ends them")
    else:
        stack.down(started)


class Mended:
    """Starts services of a stack again that have ended by themselves: a run outlives them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._left = _MENDED_TIMES

    def check(self) -> None:
        """Does nothing while every service runs.

        Raises:
            StackError: one has ended, or could not be started, once too often.
        """
        try:
            self._stack.check()
        except StackError as error:
            if not self._left:
                raise
            self._left -= 1
            print(f"{error}\nstarting again what has ended", flush=True)
            try:
                self._stack.up()
            except StackError as trouble:  # such as another command that is starting it just now
                print(trouble, flush=True)
                time.sleep(_MEND_AGAIN_S)


class RunFollower:
    """Prints what a flow run and the flow runs that it starts write to their logs, each line once.

    Below that it shows the tasks that are under way, with their progress.
    """

    def __init__(self, api: PrefectApi, run_id: str) -> None:
        self._api = api
        self._run_id = run_id
        self._run_ids = {run_id}
        self._seen: set[str] = set()
        self._since = datetime.now(UTC) - timedelta(minutes=1)
        self._state = self._waits_for = ""
        self._screen = Screen()

    def follow(self, check: Callable[[], None], limit_s: float | None = None) -> dict[str, Any]:
        """Prints new lines until the run has ended or the time is up, and returns its last state.

        Args:
            check: raises when the run can no longer end: without its services it would be `Running` for ever.
            limit_s: seconds to follow; None for as long as it takes.

        Raises:
            StackError: what `check` raised, or Prefect has not answered for half an hour.
        """
        started_at = answered_at = time.monotonic()
        while True:
            try:
                state = self._look()
                answered_at = time.monotonic()
                if state["type"] in ENDED:
                    time.sleep(_POLL_S)  # its last lines may arrive after its end
                    return self._look()
                if limit_s is not None and answered_at - started_at > limit_s:
                    return state
            except StackError:
                if time.monotonic() - answered_at > _SILENT_S:  # a busy machine answers late, not never
                    raise
            check()
            time.sleep(_POLL_S)

    def artifacts(self) -> list[dict[str, Any]]:
        """Artifacts of the run and of the runs that it started."""
        return self._api.artifacts(self._run_ids)

    def _look(self) -> dict[str, Any]:
        """Prints what is new and returns the state as it was before."""
        state = self._api.state(self._run_id)
        if state["name"] != self._state:
            self._state = state["name"]
            self._screen.log(f"{datetime.now():%H:%M:%S} {self._state}")
        if state["type"] == "SCHEDULED":
            self._say_what_it_waits_for()
        self._run_ids.update(self._api.subflow_runs(self._run_ids))
        since = self._since
        for line in self._api.logs(self._run_ids, since - _LOG_OVERLAP):
            written_at = datetime.fromisoformat(line["timestamp"])
            self._since = max(self._since, written_at)
            if line["id"] not in self._seen:
                self._seen.add(line["id"])
                level = logging.getLevelName(line["level"])
                # what follows the first line is indented, so that it looks like no line of the log
                message = shown_lines(line["message"]).replace("\n", "\n" + 17 * " ")
                self._screen.log(f"{written_at.astimezone():%H:%M:%S} {level:7} {message}")
        if state["type"] in ENDED:
            self._screen.clear()
        elif self._screen.is_due():
            self._screen.show(under_way(self._api.under_way(self._run_ids), self._api.progress(self._run_ids)))
        return state

    def _say_what_it_waits_for(self) -> None:
        if self._api.run(self._run_id)["work_queue_name"] != COMPUTING:
            return
        for run in self._api.begun_runs(COMPUTING):
            if run["name"] != self._waits_for:
                self._waits_for = run["name"]
                since = datetime.fromisoformat(run["start_time"] or run["expected_start_time"]).astimezone()
                self._screen.log(f"{datetime.now():%H:%M:%S} waits for {run['name']}, under way since {since:%H:%M:%S}")


def summary(artifacts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tables of networks and devices, the verdict on each network, and what was gained, as lines to print."""
    lines: list[str] = []
    by_key = {str(artifact["key"]): artifact for artifact in artifacts}
    for key in SUMMED_UP:
        if key in by_key and by_key[key]["type"] == "table":
            rows = json.loads(by_key[key]["data"])
            # what fits a terminal: the columns before the id
            lines += ["", *table_lines([dict(takewhile(lambda cell: cell[0] != "id", row.items())) for row in rows])]
            lines += [f"{row['network']}: {row['verdict']}" for row in rows if "verdict" in row]
        elif key in by_key:
            lines += ["", str(by_key[key]["data"])]
    return [*lines, ""]


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as aligned columns under their names, in the order in which the names first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
