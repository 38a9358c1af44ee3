"""What the agent remembers of the releases that it has seen: it may write reports, and not read them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.latency_report import MEASURED, LatencyReport
from infra.device.files.atomic_file import PARTIAL_PREFIX, atomic_file

REJECTED = "rejected"  # what is stored is damaged: it is looked at again, and told once
REFUSED = "refused"  # what a child found, or how it ended: another try would end the same way
MOST_ATTEMPTS = 2
_STARTED = ("started ", "started again ")  # and the started_at of the attempt, which its report has as well

_log = logging.getLogger(__name__)


class SeenReleases:
    """What became of each (release, target, device, runtime, store) on this device, in one file on its disk.

    An attempt is there before its child starts. It stands there without an outcome where the child was lost, and also
    where the agent was killed with it.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file, and removes beside it what a kill left half-written."""
        self._path = path
        for leftover in path.parent.glob(f"{PARTIAL_PREFIX}*"):
            leftover.unlink()
        self._statuses = read_statuses(path)
        self._is_on_disk = True

    def status(self, question: str) -> str | None:
        """MEASURED, REJECTED, REFUSED, an attempt, or None for what was never seen."""
        return self._statuses.get(question)

    def attempts(self, question: str) -> int:
        """How many children were started without an outcome."""
        status = self.status(question) or ""
        return next((count for count, word in enumerate(_STARTED, 1) if status == word + _time_in(status)), 0)

    def attempt_at(self, question: str) -> str:
        """The started_at of the last of them; empty when there is none."""
        return _time_in(self.status(question) or "") if self.attempts(question) else ""

    def start(self, question: str, started_at: str) -> None:
        """Counts one more attempt; there must be fewer than MOST_ATTEMPTS."""
        self.add(question, _STARTED[self.attempts(question)] + started_at)

    def add(self, question: str, status: str | None) -> None:
        """Remembers, on the disk before it returns; None forgets."""
        if status is None:
            self._statuses.pop(question, None)
        else:
            self._statuses[question] = status
        self._is_on_disk = False
        self.keep()

    def keep(self) -> None:
        """Writes what could not be written when it was new; before a report goes, the memory of it must be there."""
        if not self._is_on_disk:
            with atomic_file(self._path) as file:
                file.write(canonical_json(self._statuses))
            self._is_on_disk = True

    def add_report(self, question: str, report: LatencyReport) -> None:
        """Remembers what a report says, when whoever wrote it was killed before that."""
        of_attempt = self.attempt_at(question) == report.started_at
        if of_attempt or self.status(question) is None:
            self.add(question, MEASURED if report.status == MEASURED else REFUSED if of_attempt else REJECTED)


def _time_in(status: str) -> str:
    return status.rpartition(" ")[2]


def read_statuses(path: Path) -> dict[str, str]:
    """The remembered statuses; a damaged file is forgotten, which costs one more measurement of each release."""
    if not path.exists():
        return {}
    try:
        statuses = json.loads(path.read_bytes())
        if not isinstance(statuses, dict):
            raise ValueError("no JSON object")
    except (ValueError, RecursionError) as error:
        _log.warning("%s is damaged, everything is measured again: %s", path, error)
        return {}
    return {str(question): str(status) for question, status in statuses.items()}
