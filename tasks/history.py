"""What nights have left in the store, and what devices have measured: read, never written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from infra.device.errors import ContractError, NotStoredError
from infra.device.shown import shown
from infra.device.stores.object_store import ObjectStore
from infra.fleet.rows import Collected, collected
from modnet.records import Decision, Night, Record, Trial
from modnet.records.nights import decision_key, night_key, trial_key
from modnet.search.hypervolume import Point, front

_READERS = 8  # S3's client keeps ten connections
_MAX_BYTES = 1 << 20  # of a record
_MAX_REASON = 300  # characters


class LeftOut(Record):
    """A record that says nothing to this version."""

    key: str = Field(description="in the store")
    reason: str


@dataclass(frozen=True)
class Memory:
    """What the store holds.

    Attributes:
        nights: by their ids, so by time.
        trials: in the order of their times.
        decisions: the same.
        rows: what devices have measured, as last collected.
        pages: keys of the runs' reports that are there.
        left_out: records of another version, half-written ones, and those that lie under another's key.
    """

    nights: Sequence[Night]
    trials: Sequence[Trial]
    decisions: Sequence[Decision]
    rows: Sequence[Collected]
    pages: frozenset[str]
    left_out: Sequence[LeftOut]


class _Kind(NamedTuple):
    folder: str
    key: re.Pattern[str]
    record: type[Record]
    key_of: Callable[[Any], str]
    times_of: Callable[[Any], tuple[str, ...]]  # the first one orders


_KINDS = (
    _Kind(
        "nights/",
        re.compile(r"nights/[^/]+\.json"),
        Night,
        lambda one: night_key(one.night_id),
        lambda one: (one.begun_at, *filter(None, [one.ended_at])),
    ),
    _Kind(
        "trials/",
        re.compile(r"trials/[^/]+/[^/]+\.json"),
        Trial,
        lambda one: trial_key(one.base_id, one.candidate_id),
        lambda one: (one.at,),
    ),
    _Kind(
        "decisions/",
        re.compile(r"decisions/[^/]+/[^/]+\.json"),
        Decision,
        lambda one: decision_key(one.target, one.at),
        lambda one: (one.at,),
    ),
)


def remembered(store: ObjectStore) -> Memory:
    """All that nights have left, with a pool of readers; what is gone meanwhile is not there.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    found: dict[str, list[Any]] = {}
    left_out: list[LeftOut] = []
    with ThreadPoolExecutor(_READERS) as pool:
        for kind in _KINDS:
            keys = [key for key in store.list(kind.folder) if kind.key.fullmatch(key)]
            read = [one for one in pool.map(partial(_read, store, kind), keys) if one is not None]
            left_out += [one for one in read if isinstance(one, LeftOut)]
            records = [one for one in read if not isinstance(one, LeftOut)]
            found[kind.folder] = sorted(records, key=partial(_order, kind))
    return Memory(
        nights=sorted(found["nights/"], key=lambda night: night.night_id),
        trials=found["trials/"],
        decisions=found["decisions/"],
        rows=collected(store),
        pages=frozenset(key for key in store.list("runs/") if key.endswith(".html")),
        left_out=left_out,
    )


def trained(trials: Iterable[Trial]) -> list[Trial]:
    """Those that are trained to the end."""
    return [one for one in trials if one.status == "trained" and None not in (one.error_ratio, one.latency_ratio)]


def point_of(one: Trial) -> Point:
    """Error and latency of one that is trained, as multiples of the base's."""
    assert one.error_ratio is not None
    assert one.latency_ratio is not None
    return one.error_ratio, one.latency_ratio


def best_of(trials: Iterable[Trial]) -> list[Trial]:
    """Those that are trained to the end and that no other beats, fastest first; of equal ones the first."""
    of_place: dict[Point, Trial] = {}
    for one in trained(trials):
        of_place.setdefault(point_of(one), one)
    return [of_place[place] for place in reversed(front(of_place))]


def moment(text: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC.

    Raises:
        ValueError: it is none.
    """
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _order(kind: _Kind, record: Record) -> tuple[datetime, str]:
    return moment(kind.times_of(record)[0]), kind.key_of(record)


def _read(store: ObjectStore, kind: _Kind, key: str) -> Record | LeftOut | None:
    try:
        record = kind.record.model_validate_json(store.get(key, max_bytes=_MAX_BYTES))
        if kind.key_of(record) != key:
            return _left_out(key, f"it speaks of {kind.key_of(record)}")
        for time in kind.times_of(record):
            moment(time)
    except NotStoredError:
        return None
    except ValidationError as error:
        first, *more = error.errors()
        where = ".".join(map(str, first["loc"])) or "record"
        return _left_out(key, f"{where}: {first['msg']}{f', and {len(more)} more' if more else ''}")
    except (ContractError, ValueError) as error:
        return _left_out(key, str(error))
    return record


def _left_out(key: str, reason: str) -> LeftOut:
    return LeftOut(key=shown(key), reason=shown(reason)[:_MAX_REASON])
