"""Asks the ingest, and reads its answers: JSON over HTTPS, or over HTTP on this machine."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, urlsplit

from infra.device.errors import ContractError, InfraError, SettingsError, StoreRefusesError, StoreUnavailableError

_TIMEOUT_S = 60.0
_MAX_ANSWER_BYTES = 1 << 16
_NEVER_TAKEN = (409, 413, 422)  # what was sent is itself at fault, and another try would end the same way
_REFUSED = (401, 403, 404)
_HOST = r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]"
_PLAIN_URL = re.compile(rf"https?://({_HOST})(:[0-9]+)?(/[A-Za-z0-9._~%/-]*)?")  # no user, no query, no fragment


class Door:
    """The ingest at a URL. A private authority's certificate is named by AWS_CA_BUNDLE, which boto3 reads as well.

    Attributes:
        url: without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        """Asks nothing yet.

        Raises:
            SettingsError: another kind of URL, or AWS_CA_BUNDLE cannot be read.
        """
        parts = _checked(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        try:
            context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
        except OSError as error:
            raise SettingsError(f"ingest {url}: check the AWS_* variables: {error}") from error
        self._open = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context)).open

    def answer(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer; no JSON of the ingest's becomes an empty object.

        Raises:
            StoreUnavailableError: no answer.
        """
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


def meaning(status: int, answer: dict[str, Any], where: str) -> InfraError:
    """Our error for an answer that is not what was asked for."""
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
