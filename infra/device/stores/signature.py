"""How a device signs a report that it sends: AWS Signature Version 4, by the key with which it reads the store.

All of the scheme is botocore's, on both sides. Ours is what is signed: method, path, host, time and the body's SHA-256,
for a service of its own name, so that a signature for the store is none for the ingest.
"""

from __future__ import annotations

from datetime import datetime, timezone

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_SERVICE, _REGION = "modnet-ingest", "none"


def authorization(
    method: str, path: str, *, host: str, signed_at: str, body_sha256: str, key_id: str, secret: str
) -> str:
    """The header `Authorization` of a request; whoever has the secret computes it again and compares all of it.

    Args:
        method: `PUT`.
        path: of the URL, begins with a slash.
        host: the header `Host`.
        signed_at: the header `X-Amz-Date`, as `now` gives it.
        body_sha256: the header `X-Amz-Content-SHA256`, hexadecimal.
        key_id: public name of the key.
        secret: of the key.
    """
    headers = {"host": host, "x-amz-content-sha256": body_sha256, "x-amz-date": signed_at}
    request = AWSRequest(method, f"https://ingest{path}", headers=headers)
    request.context["timestamp"] = signed_at
    scheme = SigV4Auth(Credentials(key_id, secret), _SERVICE, _REGION)
    signature = scheme.signature(scheme.string_to_sign(request, scheme.canonical_request(request)), request)
    signed_headers = scheme.signed_headers(scheme.headers_to_sign(request))
    return f"AWS4-HMAC-SHA256 Credential={scheme.scope(request)}, SignedHeaders={signed_headers}, Signature={signature}"


def now() -> str:
    """The time now in UTC as AWS writes it, `20261129T120000Z`."""
    return datetime.now(timezone.utc).strftime(TIME_FORMAT)
