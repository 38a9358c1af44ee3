"""The report of a run as files on this machine: the store that holds it ends together with `make nightly`."""

from __future__ import annotations

import re
import shutil
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.device.files.atomic_file import atomic_file

_FILES = {
    "report": "report.html",
    "data": "data.html",
    "pareto": "plot.png",
    "sheet": "sheet.png",
    "fleet": "fleet.html",
    "history": "history.html",
}  # by key of the artifact
_LINK = re.compile(r"\[(.*)\]\((\S+)\)")
_OF_A_RUN = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")  # as `make nightly` names their folders
_ANSWERS_WITHIN_S = 30.0
_MAX_BYTES = 100_000_000
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # the store is on this machine


def save_report(artifacts: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Puts pages, plot and sheet of a run into a folder; returns a line for each, with the path or what went wrong.

    Args:
        artifacts: of the run, as Prefect gives them; those without a file are left out.
        folder: made when it is missing.
    """
    lines = []
    for artifact in artifacts:
        key = str(artifact["key"])
        if key in _FILES and (address := address_of(artifact)) is not None:
            path = folder / _FILES[key]
            try:
                _download(address, path)
            except (OSError, ValueError) as error:  # what urllib raises has OSError as its base
                lines.append(f"{key}: not saved, the store says: {error}")
            else:
                lines.append(f"{key}: {path}")
    return lines


def address_of(artifact: Mapping[str, Any]) -> str | None:
    """Where an artifact's picture, or what it links to, is; None when it has no address."""
    if artifact["type"] == "image":
        return str(artifact["data"])
    link = _LINK.fullmatch(str(artifact["data"]))
    return link[2] if link else None


def _download(address: str, path: Path) -> None:
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{address[:80]!r} is no address of a store")
    with _open(address, timeout=_ANSWERS_WITHIN_S) as answer:
        content = answer.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    with atomic_file(path) as partial:
        partial.write(content)


def remove_old_reports(folder: Path, keep: int, max_age: timedelta, *, remove: bool = True) -> list[Path]:
    """Removes reports of runs beyond the newest `keep` that are older, and returns them; what else is there stays.

    Without `remove` they are only found.
    """
    reports = sorted(one for one in folder.glob("*") if _OF_A_RUN.fullmatch(one.name) and one.is_dir())
    gone = []
    for one in reports[:-keep]:
        with suppress(FileNotFoundError):  # somebody else removes it, too
            if time.time() - one.stat().st_mtime > max_age.total_seconds():
                gone.append(one)
                if remove:
                    shutil.rmtree(one, ignore_errors=True)
    return gone
