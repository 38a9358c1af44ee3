"""What the ingest takes: tokens of new devices (`infra.ingest.enrolment`), and reports by
`PUT /reports/<device>/<release_id>/<target>-<started_at>.json`, the body a latency report.

What is asked, in this order; nothing of the body is read before the fourth, and no more than MAX_BODIES at a time:

    method, path         405, 404
    length               411 without Content-Length, 413 above MAX_SENT_BYTES
    signature            401 unsigned, unknown, signature; 403 revoked, clock
    device               403 device (the path is another's), 429 busy (sends one already), 429 rate, 503 busy
    body                 400 cut (too slow, or not what was signed)
    report               422 malformed
    name                 422 name (not the report's own)
    room                 403 quota
    store                409 taken (another report has this name), 507 full, 503 store

200 says key and SHA-256 of what is stored, also where it was before: its answer may have been lost. Every refusal ends
its connection, so that nobody reads the rest of a body.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from infra.device.documents.latency_report import MAX_SENT_BYTES, LatencyReport
from infra.device.errors import ConflictError, ContractError, DiskFullError, InfraError, NotStoredError
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore
from infra.ingest.allowance import Allowance, Limits
from infra.ingest.counts import STORED
from infra.ingest.devices import Device, DeviceRegistry
from infra.ingest.enrolment import Enrolment
from infra.ingest.identity import device_of_request
from infra.ingest.invitations import Invitations
from infra.ingest.refusal import RefusedError
from infra.ingest.requests import body, header, length, refusal

MAX_BODIES = 8
TURN_WITHIN_S = 10.0
_PATH = re.compile(r"/reports/([A-Za-z0-9][A-Za-z0-9._-]*)/[0-9a-f]{12}/[A-Za-z0-9._-]+\.json")

_log = logging.getLogger(__name__)


class Ingest:
    """Takes reports; one for each process.

    Args:
        store: where they go.
        registry: of the devices.
        invitations: to new devices.
        tell: called once for each report that was stored.
        count: called once for each answer, with `stored` or the code of the refusal.
        limits: of each device.
    """

    def __init__(
        self,
        store: ObjectStore,
        registry: DeviceRegistry,
        invitations: Invitations,
        tell: Callable[[LatencyReport], None],
        count: Callable[[str], None],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._store, self._registry, self._tell, self._limits = store, registry, tell, limits
        self._count = count
        self._enrolment = Enrolment(registry, invitations)
        self._allowances: dict[str, Allowance] = {}
        self._sending: set[str] = set()
        self._bodies = asyncio.Semaphore(MAX_BODIES)
        self._parsing = asyncio.Semaphore(1)  # JSON takes some twenty times its size while it is parsed

    def app(self) -> Starlette:
        """What uvicorn serves."""
        routes = [
            Route("/enrol", self._enrolment.answer, methods=["POST"]),
            Route("/{path:path}", self._put, methods=["PUT"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _other})

    async def _put(self, request: Request) -> JSONResponse:
        try:
            key, sha256 = await self._stored(request)
        except RefusedError as refused:
            path, status, code = shown(request.url.path)[:300], refused.status, refused.code
            _log.warning("%s: %d %s: %s", path, status, code, shown(refused))
            self._count(code)
            return refusal(status, code, str(refused))
        self._count(STORED)
        return JSONResponse({"stored": key, "sha256": sha256})

    async def _stored(self, request: Request) -> tuple[str, str]:
        """Key and SHA-256 of the report, once it is stored."""
        path = request.scope["raw_path"].decode("latin-1")
        named = _PATH.fullmatch(path)
        if named is None or request.scope["query_string"]:
            raise RefusedError(404, "path", "wanted PUT /reports/<device>/<release_id>/<target>-<started_at>.json")
        size_bytes = length(request, "report", MAX_SENT_BYTES)
        device = self._device(request, path)
        if device.name != named[1]:
            raise RefusedError(
                403, "device", f"the key is that of {device.name!r}, the report that of {named[1][:80]!r}"
            )
        if device.name in self._sending:
            raise RefusedError(429, "busy", f"device {device.name!r}: is sending a report already")
        allowance = self._allowances.setdefault(device.name, Allowance(device.name, self._limits))
        allowance.take_request()
        self._sending.add(device.name)
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await self._bodies.acquire()
            try:
                return await self._take(request, size_bytes, path[1:], allowance)
            finally:
                self._bodies.release()
        except TimeoutError as error:
            raise RefusedError(503, "busy", "too many devices send at once, try again later") from error
        finally:
            self._sending.discard(device.name)

    def _device(self, request: Request, path: str) -> Device:
        try:
            devices = self._registry.devices().values()
        except (InfraError, OSError) as error:
            _log.error("%s", shown(error))
            raise RefusedError(
                503, "registry", "the registry of devices cannot be read, see the ingest's log"
            ) from error
        return device_of_request(
            request.method,
            path,
            host=header(request, "host"),
            signed_at=header(request, "x-amz-date"),
            body_sha256=header(request, "x-amz-content-sha256"),
            signature=header(request, "authorization"),
            devices=devices,
        )

    async def _take(self, request: Request, size_bytes: int, key: str, allowance: Allowance) -> tuple[str, str]:
        data = await body(request, size_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != header(request, "x-amz-content-sha256"):
            raise RefusedError(400, "cut", f"body: has SHA-256 {sha256}, which is not what was signed")
        try:
            async with self._parsing:
                report = await run_in_threadpool(LatencyReport.from_json, data)
        except ContractError as error:
            raise RefusedError(422, "malformed", str(error)) from error
        if report.key() != key:
            raise RefusedError(422, "name", f"got {key!r}, wanted {report.key()!r}, as the report says")
        if await run_in_threadpool(self._write, key, data, allowance):
            self._tell(report)
        return key, sha256

    def _write(self, key: str, body: bytes, allowance: Allowance) -> bool:
        """Stores the report, unless the very same is stored; says whether it did."""
        try:
            if self._holds(key, body):
                return False
            allowance.require_room(self._store, len(body))
            self._store.put(key, body, if_absent=True)
            allowance.add_stored(len(body))
            return True
        except ConflictError as error:
            if self._holds(key, body):  # somebody was quicker with the same
                return False
            raise RefusedError(503, "store", "the store did not say what it holds") from error
        except DiskFullError as error:
            _log.error("%s", shown(error))
            raise RefusedError(507, "full", "no room in the store, the device shall keep its report") from error
        except (InfraError, OSError) as error:
            _log.error("%s: %s", type(error).__name__, shown(error))
            raise RefusedError(503, "store", "the store does not take it now, see the ingest's log") from error

    def _holds(self, key: str, body: bytes) -> bool:
        """The store has these bytes under the key.

        Raises:
            RefusedError: it has others.
        """
        try:
            same = self._store.get(key, max_bytes=len(body)) == body
        except NotStoredError:
            return False
        except ContractError:  # larger
            same = False
        if not same:
            raise RefusedError(409, "taken", f"another report is stored as {key!r}, and stays")
        return True


async def _other(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own refusal of another method."""
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, "method", "wanted PUT, or POST /enrol")
