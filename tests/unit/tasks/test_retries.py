"""The table of what is worth another try: a row each."""

from __future__ import annotations

import httpx
import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from infra.device.errors import (
    ConflictError,
    ContractError,
    DigestMismatchError,
    DiskFullError,
    NotStoredError,
    SettingsError,
    StoreRefusesError,
    StoreUnavailableError,
    UntrustedError,
)
from infra.errors import ResourcesUnavailableError, StackError, StoreGoneError, WorkerLostError
from modnet.errors import ConfigError, DatasetError, DownloadError, ExportError, TrainingDivergedError
from tasks.retries import WORTH_ANOTHER_TRY, may_pass


def answer(status: int) -> PrefectHTTPStatusError:
    """What Prefect's client raises for an answer of the server."""
    request = httpx.Request("POST", "http://127.0.0.1:4200/api/task_runs/")
    error = httpx.HTTPStatusError(str(status), request=request, response=httpx.Response(status, request=request))
    return PrefectHTTPStatusError.from_httpx_error(error)


MAY_PASS = [
    StoreUnavailableError("no answer"),
    WorkerLostError("killed for memory"),
    DiskFullError("no room on this node"),
    DownloadError("cut"),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("no answer"),
    httpx.RemoteProtocolError("closed"),
    *map(answer, (408, 429, 500, 502, 503, 504)),
]
WOULD_FAIL_AGAIN = [
    StoreGoneError("away for an hour"),
    StoreRefusesError("403"),
    SettingsError("another token, another version"),
    ResourcesUnavailableError("asked for 64 CPUs"),
    StackError("the port is taken"),
    NotStoredError("no such key"),
    ConflictError("somebody was first"),
    DigestMismatchError("other bytes"),
    UntrustedError("not signed"),
    ContractError("of a later version"),
    ConfigError("out of range"),
    DatasetError("no mattes"),
    ExportError("an operation"),
    TrainingDivergedError("nan", 3, None),
    *map(answer, (400, 401, 403, 404, 409, 422)),
    ObjectNotFound(RuntimeError("404")),
    TimeoutError("not finished after 43200 s of computing on Ray"),
    MemoryError(),
    RuntimeError("whatever a library raises"),
    KeyError("a mistake of ours"),
]


@pytest.mark.parametrize("error", MAY_PASS, ids=str)
def test_what_may_pass_is_worth_another_try(error: BaseException) -> None:
    assert may_pass(error)


@pytest.mark.parametrize("error", WOULD_FAIL_AGAIN, ids=str)
def test_what_would_fail_again_is_worth_none(error: BaseException) -> None:
    assert not may_pass(error)


def test_every_row_of_the_table_is_tried() -> None:
    decided = [
        next(kind for kind, _ in WORTH_ANOTHER_TRY if isinstance(error, kind))
        for error in MAY_PASS + WOULD_FAIL_AGAIN
        if isinstance(error, tuple(kind for kind, _ in WORTH_ANOTHER_TRY))
    ]
    assert set(decided) == {kind for kind, _ in WORTH_ANOTHER_TRY}
