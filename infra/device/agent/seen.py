"""What the agent remembers of the releases that it has seen: it may write reports, and not read them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from infra.device.documents.canonical_json import canonical_json
from infra.device.files.atomic_file import atomic_file

_log = logging.getLogger(__name__)


class SeenReleases:
    """What became of each (release, target, device, runtime, store) on this device, on its disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._statuses = _read_statuses(path)

    def status(self, question: str) -> str | None:
        """`measured`, `rejected`, or None for what was never seen."""
        return self._statuses.get(question)

    def add(self, question: str, status: str) -> None:
        """Remembers, on the disk before it returns."""
        self._statuses[question] = status
        with atomic_file(self._path) as file:
            file.write(canonical_json(self._statuses))


def _read_statuses(path: Path) -> dict[str, str]:
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
