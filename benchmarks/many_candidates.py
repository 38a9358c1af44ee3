"""What does a night of many candidates ask of Prefect and of the flow's process?

    python -m benchmarks.many_candidates [--candidates 200]

Starts a stack of its own in a temporary folder. One run prunes a tiny network in so many ways and retrains each for
about a second. Prints the run's time and the memory of its process and of Prefect's server. Exit code 1 when a
candidate has no row in the leaderboard, or a flow or task run has not ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.services import memory_mb, whole_stack
from benchmarks.tiny import tiny_run
from infra.device.stores.object_store import open_store
from infra.errors import StackError
from infra.local_stack.prefect_api import ENDED
from infra.local_stack.stack import Stack
from modnet.configs import PruningConfig

DEPLOYMENT = "compress/on-demand"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a night of many candidates asks of Prefect and of its process.")
    parser.add_argument("--candidates", type=int, default=200)
    options = parser.parse_args(arguments)
    with whole_stack() as stack:
        return _measure(stack, options.candidates)


def _measure(stack: Stack, candidates: int) -> int:
    drawn = PruningConfig(criterion="random", channel_multiple=2, min_channels=2)
    pruning = tuple(drawn.model_copy(update={"seed": seed}) for seed in range(candidates))
    api, server = stack.api, stack.status()["prefect"]
    assert server is not None
    before_mb = memory_mb(server.pid, "VmRSS")
    began = time.monotonic()
    run_id = api.start_run(DEPLOYMENT, {"config": tiny_run(stack.folder, pruning=pruning).model_dump(mode="json")})
    flow_mb = server_mb = 0.0
    while (state := api.state(run_id))["type"] not in ENDED:
        server_mb = max(server_mb, memory_mb(server.pid, "VmRSS"))
        if (pid := api.run(run_id)["infrastructure_pid"]) is not None:
            with suppress(OSError, ValueError):  # it has just ended, and has no memory any more
                flow_mb = max(flow_mb, memory_mb(int(pid), "VmHWM"))
        time.sleep(1.0)
    took_s = time.monotonic() - began
    if state["type"] != "COMPLETED":
        raise StackError(f"run {run_id}: {state['name']}: {state['message']}")
    time.sleep(30.0)  # what the run told last arrives
    retrained = [key for key in open_store("s3://modnet").list("candidates/") if key.endswith("/retrained.json")]
    ids = [run_id, *api.subflow_runs([run_id])]
    tasks = list(api.task_runs(ids))
    states = [run["state"]["type"] for run in (*api.runs(ids), *tasks)]
    unended = len([state for state in states if state not in ENDED])
    print(
        "| candidates | retrained | flow and task runs | not ended | s | s each | "
        "flow's process, MB | Prefect's server, MB |"
    )
    print(f"|{'---:|' * 8}")
    print(
        f"| {candidates} | {len(retrained)} | {len(states)} | {unended} | {took_s:.0f} | "
        f"{took_s / candidates:.1f} | {flow_mb:.0f} | {before_mb:.0f}, at most {server_mb:.0f} |"
    )
    return 0 if len(retrained) == candidates and not unended else 1


if __name__ == "__main__":
    sys.exit(main())
