"""Reports on their way: on the disk of the device until the store has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from infra.device.documents.latency_report import FAILED, LatencyReport
from infra.device.errors import ConflictError, ContractError
from infra.device.files.atomic_file import PARTIAL_PREFIX, atomic_file

_log = logging.getLogger(__name__)


class ReportTaker(Protocol):
    """What a report is given to: the pipeline's ingest, or the store itself where that is a folder of this machine."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> str:
        """Stores it under its key, once.

        Raises:
            ConflictError: the key is taken.
            ContractError: this report will never be taken.
        """


class Spool:
    """A folder of reports that wait for their upload; for one agent process at a time."""

    def __init__(self, folder: Path, *, limit: int = 1000) -> None:
        """Opens the folder, makes it when missing, and removes what a kill left half-written.

        Args:
            folder: where reports wait.
            limit: reports kept at most; beyond it the oldest failed one is dropped, or the oldest of all.
        """
        self._folder = folder
        self._limit = limit
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{PARTIAL_PREFIX}*"):
            leftover.unlink()

    def add(self, report: LatencyReport) -> None:
        """Puts a report on the disk; it survives a kill or a power cut from here on."""
        # The name starts with the time, so that the order of names is the order of reports.
        path = self._folder / f"{report.started_at}.{report.target}.{report.release_id}.{report.status}.json"
        with atomic_file(path) as file:
            file.write(report.to_json())
        pending = self.pending()
        failed_first = sorted(pending, key=lambda path: not path.name.endswith(f".{FAILED}.json"))
        for dropped in failed_first[: max(0, len(pending) - self._limit)]:
            _log.warning("spool is full (%d reports): dropped %s", self._limit, dropped.name)
            dropped.unlink()

    def pending(self) -> list[Path]:
        """Files of the waiting reports, oldest first."""
        return sorted(self._folder.glob("*.json"), key=lambda path: path.name)

    def reports(self) -> Iterator[LatencyReport]:
        """The waiting reports that can be read, oldest first."""
        for path in self.pending():
            with suppress(ContractError):  # `upload` says so
                yield LatencyReport.from_json(path.read_bytes())

    def upload(self, taker: ReportTaker) -> int:
        """Gives away every waiting report, oldest first, and returns how many; each is removed once it is stored.

        One that is damaged, or is refused for what it is, is set aside as `.damaged`.

        Raises:
            StoreUnavailableError: no answer, or not now; the rest stays.
            SettingsError: this device is refused; the rest stays.
        """
        uploaded = 0
        for path in self.pending():
            data = path.read_bytes()
            try:
                key = LatencyReport.from_json(data).key()
                taker.put(key, data, if_absent=True)
            except ContractError as error:
                _log.error("spooled report %s is damaged or never taken, set aside as .damaged: %s", path, error)
                path.rename(path.with_suffix(".damaged"))
                continue
            except ConflictError:
                _log.info("%s was stored before its acknowledgement was lost", key)
            path.unlink()
            uploaded += 1
        return uploaded
