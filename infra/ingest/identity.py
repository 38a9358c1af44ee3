"""Which device a request is of: its signature computed again, and compared."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from infra.device.stores.signature import TIME_FORMAT, authorization
from infra.ingest.devices import Device
from infra.ingest.refusal import RefusedError

MAX_SKEW = timedelta(minutes=15)  # as S3 has it
_KEY_ID = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")


def device_of_request(
    method: str,
    path: str,
    *,
    host: str,
    signed_at: str,
    body_sha256: str,
    signature: str,
    devices: Iterable[Device],
    now: datetime | None = None,
) -> Device:
    """The device whose key signed a request; a later use of the same request passes as well, and changes nothing.

    Args:
        method: of the request.
        path: of the URL as it was sent.
        host: the header `Host`.
        signed_at: the header `X-Amz-Date`.
        body_sha256: the header `X-Amz-Content-SHA256`, which the body is still to be compared with.
        signature: the header `Authorization`.
        devices: that are known.
        now: the time; by default that of the clock.

    Raises:
        RefusedError: not signed, by an unknown or revoked key, of other content, or at another time.
    """
    named = _KEY_ID.match(signature)
    if named is None:
        raise RefusedError(401, "unsigned", "wanted a request signed by AWS Signature Version 4 with a device's key")
    device = next((one for one in devices if one.key_id == named[1]), None)
    if device is None:
        raise RefusedError(401, "unknown", f"no device has the key {named[1][:80]!r}; `modnet device add` makes one")
    wanted = authorization(
        method,
        path,
        host=host,
        signed_at=signed_at,
        body_sha256=body_sha256,
        key_id=device.key_id,
        secret=device.secret,
    )
    if not hmac.compare_digest(wanted.encode(), signature.encode()):
        raise RefusedError(
            401, "signature", f"not that of the key {device.key_id!r} over this request: check its secret"
        )
    if device.revoked_at is not None:
        raise RefusedError(403, "revoked", f"the key of device {device.name!r} was revoked at {device.revoked_at}")
    now = datetime.now(UTC) if now is None else now
    try:
        off = abs(now - datetime.strptime(signed_at, TIME_FORMAT).replace(tzinfo=UTC))
    except ValueError:
        off = timedelta.max
    if off > MAX_SKEW:
        raise RefusedError(403, "clock", f"signed at {signed_at[:40]}, and it is {now.strftime(TIME_FORMAT)} here")
    return device
