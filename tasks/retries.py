"""Which failures are worth another try: the one predicate behind every task's retries."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from infra.device.errors import StoreUnavailableError
from infra.errors import WorkerLostError
from modnet.errors import DownloadError

TRANSIENT = (StoreUnavailableError, WorkerLostError, DownloadError)

# What every task of this project passes to Prefect's decorator.
RETRIES: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [2, 10, 60], "retry_jitter_factor": 0.3}


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """True when the task failed by something that may pass: a silent store, a lost worker, a cut download."""
    return isinstance(state.result(raise_on_failure=False), TRANSIENT)
