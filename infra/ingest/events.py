"""Tells Prefect of each stored report, so that a flow that waits for it need not look."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import queue
import threading
import urllib.request
import uuid
from datetime import UTC, datetime

from infra.device.documents.latency_report import LatencyReport
from infra.device.shown import shown

REPORT_STORED = "modnet.report.stored"
_TIMEOUT_S = 10.0
_MAX_WAITING = 1000  # beyond which events are dropped: whoever waits looks at the store now and then

_log = logging.getLogger(__name__)


def release_resource(release_id: str) -> str:
    """What the events of a release's reports are about, as Prefect names it."""
    return f"modnet.release.{release_id}"


class Events:
    """Sends events from a thread of its own: a silent Prefect delays no report."""

    def __init__(self, api_url: str | None, auth: str | None = None) -> None:
        """Starts the thread.

        Args:
            api_url: PREFECT_API_URL; None tells nobody.
            auth: PREFECT_API_AUTH_STRING, `user:password`.
        """
        self._waiting: queue.Queue[dict[str, object]] = queue.Queue(_MAX_WAITING)
        self._url = f"{api_url}/events"
        self._headers = {"Content-Type": "application/json"}
        if auth:
            self._headers["Authorization"] = "Basic " + base64.b64encode(auth.encode()).decode()
        # A proxy of the environment would be asked for loopback addresses too.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self._is_told = api_url is not None
        if self._is_told:
            threading.Thread(target=self._send_all, daemon=True).start()

    def tell(self, report: LatencyReport) -> None:
        """Queues the event of one report, and returns at once."""
        event: dict[str, object] = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": REPORT_STORED,
            "resource": {"prefect.resource.id": release_resource(report.release_id)},
            "payload": {"key": report.key(), "device": report.device, "target": report.target, "status": report.status},
        }
        if self._is_told:
            try:
                self._waiting.put_nowait(event)
            except queue.Full:
                _log.warning("%s: not told to Prefect, which has not answered for long", report.key())

    def _send_all(self) -> None:
        while True:
            events = [self._waiting.get()]
            while len(events) < 100 and not self._waiting.empty():
                events.append(self._waiting.get())
            try:
                request = urllib.request.Request(self._url, json.dumps(events).encode(), self._headers)
                with self._open(request, timeout=_TIMEOUT_S) as answer:
                    answer.read(1000)
            except (OSError, http.client.HTTPException, ValueError) as error:
                _log.warning("%d events: Prefect does not take them: %s", len(events), shown(error))
