"""What do Prefect and Ray cost beside the trainings that they run?

    python -m benchmarks.candidates [--epochs 12]

Starts a stack of its own in a temporary folder and prunes the shipped network four times to the same widths. The four
are then retrained by the flow `retrain`, with 1, 2 and 4 workers of one CPU each, and by two bare processes of one
thread that share the work between them and know neither. Exit code 1 when 2 workers have less than 0.95 of the
throughput of the two bare processes, when a candidate costs 2 s beside its training, or when the first training begins
25 s after its flow or later.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.services import PROJECT, whole_stack
from infra.device.stores.object_store import ObjectStore, open_store
from infra.local_stack.stack import Stack
from modnet.configs import DatasetConfig, PruningConfig, SyntheticConfig
from modnet.policies import UniformPolicy
from modnet.records import RetrainReport
from modnet.workloads.matting.settings import MattingRetraining
from tasks.stored_network import retrained_key

CANDIDATES, LEAST, MOST_OVERHEAD_S, MOST_START_S = 4, 0.95, 2.0, 25.0
PREPARED = """
import sys
from flows.prepare_dataset import prepare_dataset
from flows.prune import prune
from flows.train_baseline import train_baseline
from modnet.configs import ComputeConfig, DatasetConfig, PruningConfig
from modnet.workloads.matting.settings import MattingRetraining
from tasks.configs.baseline import BaselineConfig
import json
asked = json.loads(sys.argv[1])
compute = ComputeConfig()
dataset = prepare_dataset(DatasetConfig.model_validate(asked["dataset"]))
base = train_baseline(dataset.dataset_id, BaselineConfig(checkpoint="shipped"), 0, compute)
pruning = tuple(PruningConfig.model_validate(one) for one in asked["pruning"])
found = prune(base.base_id, pruning, MattingRetraining.model_validate(asked["retrain"]), 0, compute)
print(json.dumps([one.candidate_id for one in found]))
"""
BY_RAY = """
import json, sys, time
from flows.retrain import retrain_candidates
from infra import ray_pool
from modnet.configs import ComputeConfig
ray_pool._limits = lambda: {"num_cpus": int(sys.argv[2])}
began = time.time()
failed = retrain_candidates(json.loads(sys.argv[1]), ComputeConfig(candidate_cpus=1))
print(json.dumps([began, time.time(), failed]))
"""
BARE = """
import json, sys, time
from modnet.records import RetrainReport
from tasks.remote.candidates import retrain_candidate
from tasks.remote.node import answered
from tasks.stored_network import retrained_key
time.sleep(float(sys.argv[2]) - time.time())
for one in json.loads(sys.argv[1]):
    answered(retrained_key(one), RetrainReport, retrain_candidate, [one], 1, 0.0)
print(json.dumps(time.time()))
"""


class Run(NamedTuple):
    """Four trainings: seconds from the start to the first training and to the end, and of each training alone."""

    who: str
    start_s: float
    wall_s: float
    trainings_s: tuple[float, ...]
    workers: int

    @property
    def busy_s(self) -> float:
        """Seconds from the first training to the end."""
        return self.wall_s - self.start_s

    @property
    def overhead_s(self) -> float:
        """Seconds that a worker spent for each candidate beside its training."""
        return self.busy_s * self.workers / len(self.trainings_s) - sum(self.trainings_s) / len(self.trainings_s)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What Prefect and Ray cost beside the trainings that they run.")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args(arguments)
    with whole_stack() as stack:
        bench = _Bench(stack, options.epochs)
        bare = bench.bare()
        by_ray = [bench.by_ray(workers) for workers in (2, 1, 4)]  # the one that counts beside the bare one
    columns = ("who", "until the first training, s", "from then to the end, s", "a training, s", "overhead each, s")
    print(f"| {' | '.join(columns)} | throughput |\n|---|{'---:|' * len(columns)}")
    for run in (bare, *by_ray):
        mean_s = sum(run.trainings_s) / len(run.trainings_s)
        times = f"{run.start_s:.1f} | {run.busy_s:.1f} | {mean_s:.1f} | {run.overhead_s:.1f}"
        print(f"| {run.who} | {times} | {bare.busy_s / run.busy_s:.2f} |")
    two = by_ray[0]
    is_well = bare.busy_s / two.busy_s >= LEAST and two.overhead_s <= MOST_OVERHEAD_S and two.start_s <= MOST_START_S
    return 0 if is_well else 1


class _Bench:
    def __init__(self, stack: Stack, epochs: int) -> None:
        self._environ = {**os.environ, **stack.pipeline_environ(), "OMP_NUM_THREADS": "1"}
        self._store: ObjectStore = open_store("s3://modnet")
        half = PruningConfig(criterion="random", policy=UniformPolicy(ratio=0.5))
        asked = {
            "dataset": DatasetConfig(synthetic=SyntheticConfig(train=32, val=2)).model_dump(mode="json"),
            "pruning": [half.model_copy(update={"seed": seed}).model_dump(mode="json") for seed in range(CANDIDATES)],
            "retrain": MattingRetraining(epochs=epochs, precision="fp32").model_dump(mode="json"),
        }
        self._ids: list[str] = json.loads(self._run(PREPARED, json.dumps(asked)))

    def by_ray(self, workers: int) -> Run:
        """The flow `retrain`, in a process of its own; workers have a CPU each, whether the machine has it or not."""
        self._forget()
        began, ended, failed = json.loads(self._run(BY_RAY, json.dumps(self._ids), str(workers)))
        if failed:
            raise RuntimeError(f"{failed}")
        return self._result(f"flow `retrain`, {workers} workers", began, ended, workers)

    def bare(self) -> Run:
        """Two processes that import everything, and begin together."""
        self._forget()
        began = time.time() + 30.0
        command = [sys.executable, "-c", BARE]
        halves = [[*command, json.dumps(self._ids[half::2]), str(began)] for half in range(2)]
        settings: dict[str, Any] = {"env": self._environ, "cwd": PROJECT, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(half, **settings) for half in halves]
        ends = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
        return self._result("two bare processes", began, max(ends), 2)

    def _result(self, who: str, began: float, ended: float, workers: int) -> Run:
        trainings_s, starts = [], []
        for one in self._ids:
            key = retrained_key(one)
            seconds = RetrainReport.model_validate_json(self._store.get(key)).training.seconds
            (written,) = [at for name, at in self._store.written(key).items() if name == key]
            trainings_s.append(seconds)
            starts.append(written.timestamp() - seconds)
        return Run(who, max(0.0, min(starts) - began), ended - began, tuple(trainings_s), workers)

    def _forget(self) -> None:
        for one in self._ids:
            self._store.delete(retrained_key(one))

    def _run(self, code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=self._environ, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
