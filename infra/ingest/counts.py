"""How often the ingest gave each answer, as a file that the textfile collector of Prometheus's node_exporter reads."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, write_to_textfile

STORED = "stored"
_WRITTEN_EVERY_S = 5.0

_log = logging.getLogger(__name__)


class Counts:
    """Counts since this process began; a thread of its own writes them, so that a slow disk delays no report."""

    def __init__(self, path: Path) -> None:
        """Starts the thread.

        Args:
            path: of the file, as `metrics/ingest.prom`; its folder is made.
        """
        self._path = path
        self._registry = CollectorRegistry()
        says = f"Answers to reports: {STORED}, or the code of the refusal."
        self._answers = Counter("modnet_ingest_answers", says, ["code"], registry=self._registry)
        self._answers.labels(STORED)  # at 0, so that its first report is an increase
        self._is_new = threading.Event()
        threading.Thread(target=self._write_all, daemon=True).start()

    def add(self, code: str) -> None:
        """Counts one answer."""
        self._answers.labels(code).inc()
        self._is_new.set()

    def _write_all(self) -> None:
        has_failed = False
        while True:
            self._is_new.clear()
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_to_textfile(str(self._path), self._registry)
                has_failed = False
            except OSError as error:
                if not has_failed:
                    _log.warning("%s: cannot be written, reports are taken: %s", self._path, error)
                has_failed = True
            time.sleep(_WRITTEN_EVERY_S)
            self._is_new.wait()
