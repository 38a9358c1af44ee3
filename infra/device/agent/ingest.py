"""Sends reports to the pipeline's ingest (`infra.ingest`), which alone writes them to the store."""

from __future__ import annotations

import hashlib
import urllib.request
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from infra.device.agent.door import Door, meaning
from infra.device.documents.latency_report import MAX_SENT_BYTES
from infra.device.errors import ContractError, SettingsError
from infra.device.stores.signature import authorization, now


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
        self._door = Door(url)
        try:
            key = get_session().get_credentials()
        except BotoCoreError as error:
            raise SettingsError(f"ingest {url}: check the AWS_* variables: {error}") from error
        if key is None:
            raise SettingsError(f"ingest {url}: no key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        self._key = key.get_frozen_credentials()

    def put(self, key: str, data: bytes, *, if_absent: bool = True) -> str:
        """Sends one report and returns its SHA-256; the ingest stores it once, whatever is asked.

        Raises:
            StoreUnavailableError: no answer, not now, a clock that is wrong, or what answers is not the ingest.
            StoreRefusesError: it refuses this key; says why.
            ContractError: it will never take this report; says why.
        """
        if len(data) > MAX_SENT_BYTES:
            raise ContractError(f"report: has {len(data)} bytes, wanted at most {MAX_SENT_BYTES}")
        sha256, signed_at, url = hashlib.sha256(data).hexdigest(), now(), f"{self._door.url}/{key}"
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
        status, answer = self._door.answer(request)
        if status == 200 and (answer.get("stored"), answer.get("sha256")) == (key, sha256):
            return sha256
        raise meaning(status, answer, f"{key} to {self._door.url}")
