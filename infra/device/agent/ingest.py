"""Sends reports to the pipeline's ingest (`infra.ingest`), which alone writes them to the store."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, urlsplit

from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from infra.device.documents.latency_report import MAX_SENT_BYTES
from infra.device.errors import ContractError, InfraError, SettingsError, StoreRefusesError, StoreUnavailableError
from infra.device.stores.signature import authorization, now

_TIMEOUT_S = 60.0
_MAX_ANSWER_BYTES = 1 << 16
_NEVER_TAKEN = (409, 413, 422)  # the report itself is at fault, and another try would end the same way
_REFUSED = (401, 403, 404)
_HOST = r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]"
_PLAIN_URL = re.compile(rf"https?://({_HOST})(:[0-9]+)?(/[A-Za-z0-9._~%/-]*)?")  # no user, no query, no fragment


class Ingest:
    """Where a device sends its reports, as the Spool sees it.

    The key is that of the store, from boto3's own variables. A private authority's certificate is named by
    AWS_CA_BUNDLE, which boto3 reads as well.
    """

    def __init__(self, url: str) -> None:
        """Looks for the device's key.

        Raises:
            SettingsError: another kind of URL, no key, or AWS_CA_BUNDLE cannot be read.
        """
        parts = _checked(url)
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        try:
            key = get_session().get_credentials()
            context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
        except (BotoCoreError, OSError) as error:
            raise SettingsError(f"ingest {url}: check the AWS_* variables: {error}") from error
        if key is None:
            raise SettingsError(f"ingest {url}: no key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        self._key = key.get_frozen_credentials()
        self._open = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context)).open

    def put(self, key: str, data: bytes, *, if_absent: bool = True) -> str:
        """Sends one report and returns its SHA-256; the ingest stores it once, whatever is asked.

        Raises:
            StoreUnavailableError: no answer, not now, a clock that is wrong, or what answers is not the ingest.
            StoreRefusesError: it refuses this key; says why.
            ContractError: it will never take this report; says why.
        """
        if len(data) > MAX_SENT_BYTES:
            raise ContractError(f"report: has {len(data)} bytes, wanted at most {MAX_SENT_BYTES}")
        sha256, signed_at, url = hashlib.sha256(data).hexdigest(), now(), f"{self._url}/{key}"
        request = urllib.request.Request(url, data, method="PUT")
        signed = authorization(
            "PUT",
            urlsplit(url).path,
            host=urlsplit(url).netloc,
            signed_at=signed_at,
            body_sha256=sha256,
            key_id=self._key.access_key,
            secret=self._key.secret_key,
        )
        request.headers = {
            "Authorization": signed,
            "Content-type": "application/json",
            "X-amz-content-sha256": sha256,
            "X-amz-date": signed_at,
        }
        status, answer = self._answer(request)
        if status == 200 and (answer.get("stored"), answer.get("sha256")) == (key, sha256):
            return sha256
        raise _meaning(status, answer, f"{key} to {self._url}")

    def _answer(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer; no JSON of the ingest's becomes an empty object."""
        try:
            try:
                with self._open(request, timeout=_TIMEOUT_S) as response:
                    status, text = response.status, response.read(_MAX_ANSWER_BYTES)
            except urllib.error.HTTPError as error:
                with error:
                    status, text = error.code, error.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailableError(f"{request.full_url}: the ingest does not answer: {error}") from error
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        return status, answer if isinstance(answer, dict) else {}


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_plain = _PLAIN_URL.fullmatch(url) is not None and parts.port != 0
    except ValueError:  # a port above 65535, half an address
        is_plain = False
    if not (is_plain and (parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1"))):
        raise SettingsError(
            f"ingest URL {url!r}: wanted https://host[:port][/path], or http:// on this machine, without user, query "
            "and fragment"
        )
    return parts


def _meaning(status: int, answer: dict[str, Any], where: str) -> InfraError:
    """Our error for an answer other than that the report is stored."""
    if "error" not in answer:
        return StoreUnavailableError(
            f"{where}: what answers is not the ingest: a portal that wants a login, a proxy, or another server "
            f"(it answers {status})"
        )
    words = f"{where}: the ingest answered {status} {answer['error']}: {answer.get('message')}"[:4000]
    if status in _NEVER_TAKEN:
        return ContractError(words)
    if status in _REFUSED and answer["error"] != "clock":
        return StoreRefusesError(words)
    return StoreUnavailableError(words)
