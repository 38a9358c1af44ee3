"""Which failures are worth another try: one table, and the predicate behind every task's retries.

Errors of botocore, Ray and the network are turned into ours where they arise (`s3_store`, `ray_pool`, `download`), so
that the table is short. Prefect's and its client's reach a task as they are, from whatever asks Prefect's server.
"""

from __future__ import annotations

from typing import Any

import httpx
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.tasks import Task

from infra.device.errors import DiskFullError, InfraError, StoreUnavailableError
from infra.errors import StoreGoneError, WorkerLostError
from modnet.errors import DownloadError, ModnetError

WORTH_ANOTHER_TRY: tuple[tuple[type[BaseException], bool], ...] = (
    (StoreUnavailableError, True),  # no answer, 5xx, throttling; what a patient store has not waited for
    (StoreGoneError, False),  # it has been waited for already
    (WorkerLostError, True),  # killed, out of memory, its node gone; no cluster answers yet
    (DownloadError, True),  # cut, or 5xx
    (DiskFullError, True),  # of a node: another one may have room
    (InfraError, False),  # a wrong token, version, setting; no room; not what was signed
    (ModnetError, False),  # the same question has the same answer
    (httpx.TransportError, True),  # Prefect's server does not answer
)
"""The first row of which the error is one counts; what stands in none is worth no try."""
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)  # of Prefect's server, or of a proxy before it

# What every task of this project passes to Prefect's decorator.
RETRIES: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [2, 10, 60], "retry_jitter_factor": 0.3}


def may_pass(error: object) -> bool:
    """True when the same request may go well a little later."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code in _PASSING_STATUS
    return next((is_worth for kind, is_worth in WORTH_ANOTHER_TRY if isinstance(error, kind)), False)


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """True when the task failed by something that may pass."""
    return may_pass(state.result(raise_on_failure=False))
