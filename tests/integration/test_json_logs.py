"""With MODNET_LOG=json each line of a flow, of its Ray worker and of the ingest is one object that says whose it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from infra.local_stack.environments import pipeline_environ
from infra.local_stack.state import StackState

PROJECT = Path(__file__).parents[2]
PROGRAM = """
import logging
import flows
from prefect import flow, get_run_logger, task
from infra.ray_pool import shutdown
from modnet.configs import ComputeConfig
from modnet.records import TrainingProgress
from tasks.on_ray import recalled_or_computed

def compute(node):
    logging.getLogger("modnet.training").info("in the worker")
    print("no log at all")
    return TrainingProgress(step=1, steps=1, text="")

@task(task_run_name="retrain {name}")
def retrain(name):
    get_run_logger().info("in the task\\nand on")
    logging.getLogger("infra.patience").warning("in the thread")
    recalled_or_computed(
        f"{name}.json", TrainingProgress, compute, cpus=1, compute=ComputeConfig(), name=f"retrain {name}"
    )

@flow(name="night")
def night():
    retrain("a")
"""
START = """
import nights
from prefect.testing.utilities import prefect_test_harness
with prefect_test_harness(server_startup_timeout=120):
    nights.night()
nights.shutdown()
"""


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_lines_of_flow_and_worker_name_run_stage_computation_and_node(tmp_path: Path) -> None:
    secrets = {"pipeline": "pipeline-secret-1", "ingest": "b", "prefect": "prefect-secret-1"}
    environ = pipeline_environ({**os.environ, "MODNET_LOG": "json"}, tmp_path, StackState(secrets))
    environ |= {"MODNET_STORE": (tmp_path / "store").as_uri(), "PYTHONPATH": f"{PROJECT}:{tmp_path}"}
    del environ["PREFECT_API_URL"], environ["PREFECT_API_AUTH_STRING"], environ["PREFECT_SERVER_API_AUTH_STRING"]
    (tmp_path / "nights.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", START],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = objects(done.stdout + done.stderr)
    by_message = {line["message"]: line for line in lines}
    run_id = by_message["in the task\nand on"]["run_id"]
    assert len(run_id) == 36
    of_task = {"run_id": run_id, "stage": "night", "computation": "retrain a"}
    assert by_message["in the task\nand on"].items() >= of_task.items()
    assert by_message["in the worker"].items() >= of_task.items()
    assert by_message["in the worker"]["pid"] != by_message["in the task\nand on"]["pid"]
    assert all(line["node"] for line in lines)
    assert not [line for line in (done.stdout + done.stderr).splitlines() if "-secret-1" in line]


def test_lines_of_the_ingest(start_ingest: Callable[..., Any]) -> None:
    server = start_ingest(MODNET_LOG="json")
    assert httpx.put(f"{server.url}/reports/x", content=b"", trust_env=False).status_code == 404
    (line,) = [line for line in objects(server.log.read_text()) if line["logger"] == "infra.ingest.app"]
    assert line["level"] == "WARNING"
    assert line["message"].startswith("/reports/x: 404 path: ")
