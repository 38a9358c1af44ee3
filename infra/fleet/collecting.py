"""One look at the reports: each is read once, and what is none is put aside.

reports/…                  what devices have sent, and never changes
fleet/collected.jsonl.gz   what each of them says, in a row (infra.fleet.rows)
quarantine/reports/…       what was found among the reports and is none
quarantine/reasons/…       why, under the same names: JSON of key, got, wanted and when
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra.device.documents.checks import MAX_TEXT, utc_now
from infra.device.documents.latency_report import LatencyReport
from infra.device.errors import ConflictError, ContractError, DigestMismatchError, LaterVersionError, NotStoredError
from infra.device.reports import RefusedReport, read_report
from infra.device.stores.object_store import ObjectStore
from infra.fleet.rows import Collected, Rows, keep, read_state

FOLDER = "reports/"
QUARANTINE = "quarantine/"
READERS = 8
KEPT_AFTER = 2000  # reports; who is killed has those since then to read again
WANTED = f"a latency report of version 1 to {LatencyReport.newest}, under the key that it names"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_KEY = re.compile(rf"{FOLDER}{_NAME}/{_NAME}/{_NAME}-\d{{8}}T\d{{6}}\.\d{{6}}Z\.json")


@dataclass(frozen=True)
class Look:
    """What one look found.

    Attributes:
        rows: all that is kept by now.
        new_count: of reports that were read for the first time.
        moved: what was no report and is in the quarantine by now.
        left: what is no report and could not be moved there, since its name cannot stand there.
        damage: why the rows were made anew; None: they were not.
    """

    rows: Rows
    new_count: int
    moved: tuple[RefusedReport, ...]
    left: tuple[RefusedReport, ...]
    damage: str | None


def collect(store: ObjectStore) -> Look:
    """Reads what is new among the reports, and keeps a row of each.

    Several may look at once. Nothing is lost when one is killed: what it has not kept is new to the next.

    Raises:
        StoreUnavailableError, DiskFullError: as the store does; what was kept until then stays.
    """
    state = read_state(store)
    stored = store.list(FOLDER)
    new, gone = [key for key in stored if key not in state.rows], state.rows.keys() - set(stored)
    rows = keep(store, {}, gone) if gone or state.damage else state.rows
    new_count, refused = 0, []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(new), KEPT_AFTER):
            found: dict[str, Collected | None] = {}
            for read in pool.map(lambda key: _read(store, key), new[start : start + KEPT_AFTER]):
                if isinstance(read, RefusedReport):
                    refused.append(read)
                else:
                    found |= read
            rows, new_count = keep(store, found), new_count + len(found)
    moved: list[RefusedReport] = []
    left: list[RefusedReport] = []
    for one in refused:
        (moved if _move(store, one) else left).append(one)
    return Look(rows, new_count, tuple(moved), tuple(left), state.damage)


def _read(store: ObjectStore, key: str) -> Rows | RefusedReport:
    """The row of a report, under its key; none where it is gone by now."""
    try:
        if not _KEY.fullmatch(key):
            raise ContractError("key: wanted reports/<device>/<release_id>/<target>-<started_at>.json")
        return {key: Collected.of(read_report(store, key), key)}
    except NotStoredError:
        return {}
    except LaterVersionError:  # read once this code is updated, see `rows.FORM`
        return {key: None}
    except (ContractError, DigestMismatchError) as error:
        return RefusedReport(key, str(error)[:MAX_TEXT])


def _move(store: ObjectStore, refused: RefusedReport) -> bool:
    """Puts an object aside, with the reason, and says whether it did."""
    key = refused.key
    reason = {"key": key, "got": refused.reason, "wanted": WANTED, "at": utc_now()}
    try:
        store.copy(key, f"{QUARANTINE}{key}", store.digest(key))
        store.put(f"{QUARANTINE}reasons/{key[len(FOLDER) :]}", json.dumps(reason).encode())
        store.delete(key)
    except NotStoredError:  # somebody else was faster
        return True
    except (ContractError, ConflictError, DigestMismatchError):
        return False
    return True
