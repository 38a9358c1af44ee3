from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.device.agent.spool import Spool
from infra.device.documents.latency_report import LatencyReport
from infra.device.errors import StoreUnavailableError
from infra.device.stores.folder_store import FolderStore

MakeReport = Callable[..., LatencyReport]

DIE_BEFORE_THE_RENAME = """
import os, signal, sys
from pathlib import Path
from infra.device.files.atomic_file import atomic_file
with atomic_file(Path(sys.argv[1]) / "20261122T063000.000000Z.cpu-fp32.0123456789ab.measured.json") as file:
    file.write(b"{")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _at(second: int) -> str:
    return f"20261122T0630{second:02d}.000000Z"


class _FailingStore(FolderStore):
    """Takes some objects, then is unreachable."""

    def __init__(self, folder: Path, *, takes: int) -> None:
        super().__init__(folder)
        self.takes = takes
        self.taken: list[str] = []

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if len(self.taken) == self.takes:
            raise StoreUnavailableError("the cable is out")
        self.taken.append(key)
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


def test_upload_stores_the_oldest_first_and_keeps_the_rest_when_the_store_fails(
    tmp_path: Path, make_report: MakeReport
) -> None:
    spool = Spool(tmp_path / "spool")
    reports = [make_report(started_at=_at(second)) for second in range(3)]
    for report in (reports[2], reports[0], reports[1]):
        spool.add(report)
    store = _FailingStore(tmp_path / "store", takes=2)

    with pytest.raises(StoreUnavailableError):
        spool.upload(store)

    assert store.taken == [reports[0].key(), reports[1].key()]
    assert len(spool.pending()) == 1
    store.takes = 3
    assert spool.upload(store) == 1
    assert spool.pending() == []
    assert LatencyReport.from_json(store.get(reports[2].key())) == reports[2]


def test_upload_takes_a_report_as_sent_when_its_acknowledgement_was_lost(
    tmp_path: Path, store: FolderStore, make_report: MakeReport
) -> None:
    spool = Spool(tmp_path / "spool")
    spool.add(make_report())
    store.put(make_report().key(), make_report().to_json())
    assert spool.upload(store) == 1
    assert spool.pending() == []


def test_upload_sets_a_damaged_report_aside_and_sends_the_others(
    tmp_path: Path, store: FolderStore, make_report: MakeReport, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool")
    for second in range(2):
        spool.add(make_report(started_at=_at(second)))
    damaged = spool.pending()[0]
    damaged.write_bytes(b'{"schema_version"')
    assert spool.upload(store) == 1
    assert damaged.with_suffix(".damaged").exists()
    assert "damaged" in caplog.text


def test_spool_survives_a_kill_between_write_and_rename(
    tmp_path: Path, store: FolderStore, make_report: MakeReport
) -> None:
    folder = tmp_path / "spool"
    Spool(folder).add(make_report(started_at=_at(1)))
    killed = subprocess.run([sys.executable, "-c", DIE_BEFORE_THE_RENAME, str(folder)], cwd=Path(__file__).parents[4])
    assert killed.returncode == -signal.SIGKILL
    assert len(os.listdir(folder)) == 2

    spool = Spool(folder)

    assert len(os.listdir(folder)) == 1
    assert spool.upload(store) == 1
    assert store.list("reports/") == [make_report(started_at=_at(1)).key()]


def test_add_drops_the_oldest_failed_report_when_the_spool_is_full(
    tmp_path: Path, make_report: MakeReport, make_failed_report: MakeReport, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool", limit=3)
    with caplog.at_level(logging.WARNING):
        spool.add(make_report(started_at=_at(0)))
        spool.add(make_failed_report(started_at=_at(1)))
        spool.add(make_failed_report(started_at=_at(2)))
        spool.add(make_report(started_at=_at(3)))
    assert [path.name[:22] for path in spool.pending()] == [_at(0)[:22], _at(2)[:22], _at(3)[:22]]
    assert _at(1) in caplog.text


def test_add_drops_the_oldest_when_the_spool_is_full_of_measurements(tmp_path: Path, make_report: MakeReport) -> None:
    spool = Spool(tmp_path / "spool", limit=2)
    for second in range(3):
        spool.add(make_report(started_at=_at(second)))
    assert [path.name[:22] for path in spool.pending()] == [_at(1)[:22], _at(2)[:22]]
