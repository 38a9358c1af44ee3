from __future__ import annotations

from datetime import UTC, datetime, timedelta

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.device.stores.signature import authorization
from infra.ingest.devices import Device
from infra.ingest.identity import device_of_request
from infra.ingest.refusal import RefusedError

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
PI = Device("pi", "device-pi", "secret of pi", "20261129T110000.000000Z")
SIGNED = {"host": "ingest:8343", "signed_at": "20261129T120000Z", "body_sha256": "0" * 64}
PATH = "/reports/pi/0123456789ab/a.json"


def signed(**changes: str) -> str:
    return authorization("PUT", PATH, **{**SIGNED, "key_id": PI.key_id, "secret": PI.secret, **changes})


def test_the_signature_is_that_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """As whoever signs by AWS's scheme would make it, in any language."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOON)
    headers = {"Host": SIGNED["host"], "X-Amz-Content-SHA256": SIGNED["body_sha256"]}
    request = AWSRequest("PUT", f"http://ingest:8343{PATH}", headers=headers)
    botocore.auth.SigV4Auth(Credentials(PI.key_id, PI.secret), "modnet-ingest", "none").add_auth(request)
    assert request.headers["Authorization"] == signed()


def test_a_signature_for_the_store_is_none_for_the_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOON)
    request = AWSRequest("PUT", f"http://ingest:8343{PATH}", headers={"X-Amz-Content-SHA256": SIGNED["body_sha256"]})
    botocore.auth.S3SigV4Auth(Credentials(PI.key_id, PI.secret), "s3", "us-east-1").add_auth(request)
    with pytest.raises(RefusedError) as refused:
        device_of_request("PUT", PATH, **SIGNED, signature=request.headers["Authorization"], devices=[PI], now=NOON)
    assert refused.value.code == "signature"


@pytest.mark.parametrize(("minutes", "is_taken"), [(-15, True), (15, True), (-15.1, False), (15.1, False)])
def test_a_request_is_taken_within_a_quarter_of_an_hour(minutes: float, is_taken: bool) -> None:
    now = NOON + timedelta(minutes=minutes)
    if is_taken:
        assert device_of_request("PUT", PATH, **SIGNED, signature=signed(), devices=[PI], now=now) == PI
        return
    with pytest.raises(RefusedError, match=f"signed at 20261129T120000Z, and it is {now:%Y%m%dT%H%M%SZ} here"):
        device_of_request("PUT", PATH, **SIGNED, signature=signed(), devices=[PI], now=now)
