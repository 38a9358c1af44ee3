"""`POST /enrol`, the body `{"token": SECRET}`: gives a device what its invitation promises, once.

What is asked, in this order:

    length               411 without Content-Length, 413 above MAX_BYTES
    rate                 429, of all that ask together
    body                 400 cut, 422 malformed
    token                401 token (unknown), 403 used, expired, revoked
    files                503 registry

Nobody who asks is known yet. So the token is the only key, and TLS alone keeps it from others on its way.
"""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.device.documents.grant import Grant
from infra.device.documents.json_object import parse_json
from infra.device.errors import ContractError, InfraError
from infra.device.shown import shown
from infra.ingest.allowance import Rate
from infra.ingest.devices import DeviceRegistry
from infra.ingest.invitations import Invitations
from infra.ingest.refusal import RefusedError
from infra.ingest.requests import body, length, refusal

MAX_BYTES = 1000
PER_MINUTE = 30

_log = logging.getLogger(__name__)


class Enrolment:
    """Takes tokens; one for each process."""

    def __init__(self, registry: DeviceRegistry, invitations: Invitations) -> None:
        self._registry, self._invitations = registry, invitations
        self._rate = Rate(PER_MINUTE)

    async def answer(self, request: Request) -> Response:
        """The grant, or why not."""
        try:
            size_bytes = length(request, "token", MAX_BYTES)
            if not self._rate.takes():
                raise RefusedError(429, "rate", f"more than {PER_MINUTE} tokens a minute, try again later")
            data = await body(request, size_bytes)
            try:
                secret = parse_json(data, "token", max_bytes=MAX_BYTES).text("token")
            except ContractError as error:
                raise RefusedError(422, "malformed", str(error)) from error
            grant = await run_in_threadpool(self._redeemed, secret)
        except RefusedError as refused:
            _log.warning("/enrol: %d %s: %s", refused.status, refused.code, shown(refused))
            return refusal(refused.status, refused.code, str(refused))
        _log.info("/enrol: device %s has its key", grant.device)
        return JSONResponse(grant.members(), headers={"Cache-Control": "no-store"})

    def _redeemed(self, secret: str) -> Grant:
        try:
            return self._invitations.redeem(secret, self._registry)
        except (InfraError, OSError) as error:
            _log.error("%s", shown(error))
            raise RefusedError(503, "registry", "the invitations cannot be read, see the ingest's log") from error
