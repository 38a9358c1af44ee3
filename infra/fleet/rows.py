"""What each report says, in one row, and the object of the store that keeps the rows.

`fleet/collected.jsonl.gz`: a line for its form, then a line for each report that was read. It can be made anew from the
reports at any time.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from infra.device.documents.latency_report import MEASURED, Comparison, LatencyReport
from infra.device.errors import ConflictError, ContractError, NotStoredError
from infra.device.reports import counted_once
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore

KEY = "fleet/collected.jsonl.gz"
MAX_DOUBTS, MAX_DOUBT = 20, 300  # how many, of how many characters: ours have less, a hostile report a MiB of them
FORM = {"collected": 1, "reports": LatencyReport.newest}  # of another form, all reports are read anew
_TRIES = 20
_DAMAGES = (EOFError, OSError, zlib.error, ValueError, TypeError, LookupError, AttributeError, ContractError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collected:
    """What one report says; names as in `LatencyReport`.

    Attributes:
        p50_ms: median latency, milliseconds; None unless the status is `measured`.
        p50_low, p50_high: its bootstrap interval, 95 %; None as well in reports of version 1.
        doubts: why the latency is not to be trusted, the first MAX_DOUBTS, MAX_DOUBT characters of each.
        key: of the report.
    """

    device: str
    target: str
    release_id: str
    runtime: str
    started_at: str
    status: str
    reason: str | None
    p50_ms: float | None
    p50_low: float | None
    p50_high: float | None
    precision: str | None
    comparison: Comparison | None
    doubts: tuple[str, ...]
    key: str

    @property
    def is_trustworthy(self) -> bool:
        """As `LatencyReport.is_trustworthy`."""
        return self.status == MEASURED and self.p50_low is not None and not self.doubts

    @classmethod
    def of(cls, report: LatencyReport, key: str) -> Collected:
        """The row of a report that is stored under `key`."""
        return cls(
            device=report.device,
            target=report.target,
            release_id=report.release_id,
            runtime=report.runtime,
            started_at=report.started_at,
            status=report.status,
            reason=report.reason,
            p50_ms=None if report.summary is None else report.summary.p50_ms,
            p50_low=report.intervals_ms.get("p50_low"),
            p50_high=report.intervals_ms.get("p50_high"),
            precision=report.precision,
            comparison=report.comparison,
            doubts=tuple(doubt[:MAX_DOUBT] for doubt in report.doubts[:MAX_DOUBTS]),
            key=key,
        )


Rows = Mapping[str, Collected | None]
"""Key of each report that was read -> its row; None: of a later version, which this code cannot read."""


@dataclass(frozen=True)
class State:
    """The rows as they were last kept.

    Attributes:
        rows: of every report that was read.
        etag: of the object; None where there is none.
        damage: why it says nothing, so that all reports are to be read anew; None: it is as it was written.
    """

    rows: Rows
    etag: str | None
    damage: str | None = None


def collected(store: ObjectStore) -> list[Collected]:
    """Every row as last collected, each question once (`counted_once`), in the order of their keys.

    Nothing is read but the one object. Where nothing was collected yet, or it is damaged, there are none.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    state = read_state(store)
    if state.damage is not None:
        _log.warning("%s", state.damage)
    return counted(state.rows)


def counted(rows: Rows) -> list[Collected]:
    """The rows that count, in the order of their keys."""
    return counted_once([row for _, row in sorted(rows.items()) if row is not None])


def read_state(store: ObjectStore) -> State:
    """What was kept."""
    try:
        data, etag = store.get_with_etag(KEY)
    except NotStoredError:
        return State({}, None)
    try:
        return State(_unpacked(data), etag)
    except _DAMAGES as error:
        return State({}, etag, f"{KEY} says nothing, wanted its rows: {type(error).__name__}: {shown(error)}")


def keep(store: ObjectStore, found: Rows, gone: Iterable[str] = ()) -> Rows:
    """Adds rows to what is kept, removes those of reports that are gone, and returns what is kept now.

    Of two writers at once the second reads what the first has kept, and adds its own.

    Raises:
        ConflictError: others wrote _TRIES times in between.
        StoreUnavailableError, DiskFullError: as `ObjectStore.put`.
    """
    gone = frozenset(gone)
    for tries_left in reversed(range(_TRIES)):
        state = read_state(store)
        rows = {key: row for key, row in {**state.rows, **found}.items() if key not in gone}
        if rows == state.rows and state.damage is None:
            return rows
        try:
            store.put(KEY, _packed(rows), if_absent=state.etag is None, if_match=state.etag)
            return rows
        except ConflictError:
            if not tries_left:
                raise
    raise AssertionError


def _packed(rows: Rows) -> bytes:
    lines = [FORM, *({"key": key} if row is None else asdict(row) for key, row in sorted(rows.items()))]
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), mtime=0)


def _unpacked(data: bytes) -> Rows:
    head, *lines = map(json.loads, gzip.decompress(data).splitlines())
    if head != FORM:
        raise ContractError(f"got form {str(head)[:80]}, wanted {FORM}")
    return {line["key"]: _row(line) if len(line) > 1 else None for line in lines}


def _row(line: dict[str, object]) -> Collected:
    comparison, doubts = line.pop("comparison"), line.pop("doubts")
    return Collected(
        **line,  # type: ignore[arg-type]  # written by `_packed`
        comparison=None if comparison is None else Comparison(**comparison),  # type: ignore[arg-type]
        doubts=tuple(doubts),  # type: ignore[arg-type]
    )
