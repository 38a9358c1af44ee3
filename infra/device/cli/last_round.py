"""What the agent's last round came to, on its disk: for `status`, which may run beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.device.agent.agent import Outcome
from infra.device.documents.canonical_json import canonical_json
from infra.device.documents.checks import utc_now
from infra.device.files.atomic_file import atomic_file
from infra.device.shown import shown

_NAME = "last_round.json"
_MOST_BYTES = 1 << 20

_log = logging.getLogger(__name__)


def write_last_round(work_folder: Path, outcomes: Sequence[Outcome], error: Exception | None) -> None:
    """Replaces what the round before came to; a disk that refuses it is told in the log, and stops nothing."""
    content = {
        "ended_at": utc_now(),
        "outcomes": [
            [f"{outcome.target} on {outcome.runtime}", outcome.status, shown(outcome.detail)[:500]]
            for outcome in outcomes
        ],
        "error": None if error is None else shown(error)[:500],
    }
    try:
        with atomic_file(work_folder / _NAME) as file:
            file.write(canonical_json(content))
    except OSError as refused:
        _log.error("%s: %s", work_folder / _NAME, refused)


def read_last_round(work_folder: Path) -> dict[str, Any]:
    """`ended_at`, `outcomes` and `error` as they were written; empty without a round, and where its file is damaged."""
    try:
        with open(work_folder / _NAME, "rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        texts = [content["ended_at"], *(text for outcome in content["outcomes"] for text in outcome)]
        is_whole = all(isinstance(text, str) for text in texts) and all(len(one) == 3 for one in content["outcomes"])
        return dict(content) if is_whole and "error" in content else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
