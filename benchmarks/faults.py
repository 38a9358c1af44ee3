"""What does a night lose when something of it is killed?

    python -m benchmarks.faults [--times 5] [--only "flow,Ray head"]

Starts a stack of its own in a temporary folder, and asks a question undisturbed: a tiny night. The same question is
then asked again and again, each time without the answers of before, and one of its parts is killed (SIGKILL) at a
random moment; whatever a supervisor would start again is started again (`up`). Exit code 1 when a measure is not met
once the run, or the one that takes over from it, has ended: the same winner and the same weights, no finished candidate
trained again, nothing left `Running`, no process left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.services import whole_stack
from benchmarks.tiny import tiny_run
from infra.device.stores.object_store import ObjectStore, open_store
from infra.errors import StackError
from infra.local_stack.environments import MARKER
from infra.local_stack.prefect_api import ENDED
from infra.local_stack.processes import Process, processes_by, processes_with
from infra.local_stack.services import TARGETS
from infra.local_stack.stack import Stack
from modnet.configs import BenchmarkConfig, WinnerLimits
from modnet.records import RetrainReport
from modnet.workloads.matting.settings import MattingRetraining
from tasks.tidying import LEFT_ALONE

WITHIN_S = 900.0
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"
_SERVICES = {
    "Prefect server": "prefect",
    "Prefect worker": "worker",
    "store": "store",
    "ingest": "ingest",
    "agent": "agent",
}
_KINDS = ("flow", "Ray worker", "raylet", "Ray head", *_SERVICES, "everything at once")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a night loses when something of it is killed.")
    parser.add_argument("--times", type=int, default=5, help="moments for each kind")
    parser.add_argument("--only", default="", help=f"kinds, of {', '.join(_KINDS)}")
    options = parser.parse_args(arguments)
    kinds = [one for one in _KINDS if not options.only or one in options.only.split(",")]
    chance = random.Random(0)
    with whole_stack(TARGETS[:1]) as stack:
        bench = _Bench(stack)
        bench.undisturbed()  # makes the data
        bench.forget()
        usual_s = bench.undisturbed()
        wanted = bench.answers()
        bench.forget()
        print(f"undisturbed: {usual_s:.0f} s", file=sys.stderr)
        trials = []
        for kind in kinds * options.times:
            trials.append(bench.trial(kind, chance.uniform(0.05, 0.6) * usual_s, wanted))
            print(trials[-1], file=sys.stderr)
    columns = ["killed", "times", "completed by", "s from kill to end, median and most"]
    columns += ["trained again", "differs", "left `Running`", "left behind"]
    print(f"| {' | '.join(columns)} |\n|---|---:|---|{'---:|' * 5}")
    for kind in kinds:
        print(_row(kind, [trial for trial in trials if trial.kind == kind]))
    print(f"\nUndisturbed, the night takes {usual_s:.0f} s.")
    return 0 if all(trial.is_well for trial in trials) else 1


@dataclass
class Trial:
    """What one kill has cost.

    Attributes:
        kind: of what was killed.
        at_s: after the start of the run.
        by: what has completed it: the run, the run that was started again by itself, or the next one.
        end_s: from the kill to the end.
        again: finished candidates that were trained once more.
        differs: answers that are others than those of the undisturbed run.
        running: flow and task runs that have not ended.
        left: processes that were left behind.
    """

    kind: str
    at_s: float
    by: str = ""
    end_s: float = 0.0
    again: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return bool(self.by) and not (self.again or self.differs or self.running or self.left)


def _row(kind: str, trials: list[Trial]) -> str:
    by = sorted({trial.by for trial in trials})
    ends = sorted(trial.end_s for trial in trials)
    counts = [sum(len(getattr(trial, name)) for trial in trials) for name in ("again", "differs", "running", "left")]
    times = f"{ends[len(ends) // 2]:.0f}, {ends[-1]:.0f}"
    return f"| {kind} | {len(trials)} | {', '.join(by)} | {times} | {' | '.join(map(str, counts))} |"


class _Bench:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        # The number format, which `auto` chooses by timing, would be another in some run.
        retrain = MattingRetraining(epochs=8, image_size=64, batch_size=2, precision="fp32")
        awaited = BenchmarkConfig(wait_s=300, min_reports=1)
        # No candidate is that good, so the one that errs least wins: by latency, noise would choose between the two.
        by_error = WinnerLimits(max_error_ratio=1e-6)
        question = tiny_run(stack.folder, retrain=retrain, benchmark=awaited, winner_limits=by_error)
        self._parameters = {"config": question.model_dump(mode="json")}
        self._store: ObjectStore = open_store("s3://modnet")

    def undisturbed(self) -> float:
        """Seconds that a night takes; fails where it does not complete."""
        began = time.monotonic()
        run_id = self._stack.api.start_run("compress/on-demand", self._parameters)
        state = self._ended(run_id)
        if state["type"] != "COMPLETED":
            raise StackError(f"run {run_id}: {state['name']}: {state['message']}")
        return time.monotonic() - began

    def trial(self, kind: str, at_s: float, wanted: Mapping[str, str]) -> Trial:
        """Kills something, waits for the end, and compares with the answers of the undisturbed run."""
        trial = Trial(kind, at_s)
        api = self._stack.api
        run_id = api.start_run("compress/on-demand", self._parameters)
        began = time.monotonic()
        victims: list[Process] = []
        while time.monotonic() - began < at_s or not victims:  # of Ray there is nothing in the first seconds
            time.sleep(0.2)
            victims = self._processes(kind, run_id)
            if api.state(run_id)["type"] in ENDED:
                break
        finished = self._finished()
        killed_at = time.monotonic()
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
        trial.by, state = "the run itself", self._ended(run_id)
        if state["type"] == "CRASHED":
            trial.by = "the run that starts again"
            state = self._ended(again) if (again := self._again(run_id)) else state
        if state["type"] != "COMPLETED":
            trial.by = "the next run"
            next_id = api.start_run("compress/on-demand", self._parameters)
            state = self._ended(next_id)
        if state["type"] != "COMPLETED":
            trial.by = ""
        trial.end_s = time.monotonic() - killed_at
        trial.again = [key for key, etag in finished.items() if self._store.get_with_etag(key)[1] != etag]
        self._settle(trial)
        got = self.answers()
        trial.differs = sorted(key for key in got.keys() | wanted.keys() if got.get(key) != wanted.get(key))
        self.forget()
        return trial

    def _ended(self, run_id: str) -> dict[str, Any]:
        """State at the end of a run; what has ended of the services is started again, as a supervisor does."""
        ends_at = time.monotonic() + WITHIN_S
        while time.monotonic() < ends_at:
            try:
                self._stack.check()
                state = self._stack.api.state(run_id)
                if state["type"] in ENDED:
                    return state
            except StackError:
                with suppress(StackError):
                    self._stack.up()
            time.sleep(1.0)
        raise StackError(f"run {run_id}: has not ended after {WITHIN_S:.0f} s")

    def _again(self, run_id: str) -> str | None:
        """The run that a sweep has started in place of this one; it comes within ten minutes, here at the next `up`."""
        self._stack.up()
        name = f"{self._stack.api.run(run_id)['name']}-again"
        found = [run["id"] for run in self._stack.api.open_runs() if run["name"] == name]
        return str(found[0]) if found else None

    def _processes(self, kind: str, run_id: str) -> list[Process]:
        if kind in _SERVICES:
            service = self._stack.status()[_SERVICES[kind]]
            return [service] if service else []
        of_stack = processes_with(MARKER, str(self._stack.folder))
        if kind == "everything at once":
            return of_stack
        if kind == "flow":
            pid = self._stack.api.run(run_id)["infrastructure_pid"]
            return [process for process in of_stack if str(process.pid) == pid]
        is_it = _IS[kind]
        found = [process for process in of_stack if is_it(_command(process.pid))]
        return found[:1]

    def _finished(self) -> dict[str, str]:
        """Records of candidates that are trained, with their etags."""
        keys = [key for key in self._store.list("candidates/") if key.endswith("/retrained.json")]
        return {key: self._store.get_with_etag(key)[1] for key in keys}

    def answers(self) -> dict[str, str]:
        """What the run has come to: the weights of each candidate, and the release of each target."""
        found = {}
        for key in self._finished():
            report = RetrainReport.model_validate_json(self._store.get(key))
            found[key] = report.checkpoint.sha256
        exports = [key for key in self._store.list("exports/") if key.endswith(".json")]
        return {**found, **{key.split("/")[1]: "exported" for key in exports}}

    def forget(self) -> None:
        """Removes answers and what is cached of them; what is signed, and reports, stay."""
        for key in self._store.list(""):
            if key.partition("/")[0] not in (*LEFT_ALONE, "datasets", "reports"):
                self._store.delete(key)
        shutil.rmtree(self._stack.folder / "cache" / "trainings", ignore_errors=True)

    def _settle(self, trial: Trial) -> None:
        """Looks for what is left, once what a run has ended with has had a minute to arrive."""
        api, ends_at = self._stack.api, time.monotonic() + 90.0
        while True:
            self._stack.up()
            trial.running = [run["name"] for run in api.begun_runs() if "may-be-cut" not in run["tags"]]
            trial.running += sorted(api.runs_with_open_parts())
            open_ids = {str(run["id"]) for run in api.begun_runs()}
            carriers = processes_by(_FLOW_RUN)
            trial.left = [
                _command(process.pid)
                for run_id, processes in carriers.items()
                if run_id not in open_ids
                for process in processes
                if process in processes_with(MARKER, str(self._stack.folder))
            ]
            if not (trial.running or trial.left) or time.monotonic() > ends_at:
                return
            time.sleep(5.0)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _is_ray_worker(command: str) -> bool:
    return command.startswith("ray::") and not command.startswith(("ray::IDLE", "ray::Dashboard", "ray::RuntimeEnv"))


_IS: dict[str, Callable[[str], bool]] = {
    "Ray worker": _is_ray_worker,
    "raylet": lambda command: command.split(" ")[0].endswith("/raylet"),
    "Ray head": lambda command: command.split(" ")[0].endswith("/gcs_server"),
}


if __name__ == "__main__":
    sys.exit(main())
