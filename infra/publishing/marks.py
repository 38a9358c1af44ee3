"""Marks in the store, beside what is signed: of a publication that has begun, and of who waits for reports.

Nobody signs them. Whoever writes to the store can keep a release by one, and no more: by a mark only what is not signed
is removed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from infra.device.documents.checks import check_release_id, check_time, time_of, utc_now
from infra.device.errors import ContractError, NotStoredError
from infra.device.stores.object_store import ObjectStore

PUBLISHING = "publishing"
AWAITED = "awaited"
_MAX_BYTES = 1000
_LONG_AGO = "19700101T000000.000000Z"


def marked(store: ObjectStore, kind: str) -> list[str]:
    """The releases that have a mark of this kind; whoever writes to the store may have named one anything."""
    return [key.removeprefix(f"{kind}/").removesuffix(".json") for key in store.list(f"{kind}/")]


def mark_publishing(store: ObjectStore, release_id: str, *, is_abandoned: bool = False) -> None:
    """Says that files of a release are there before it is signed.

    Args:
        is_abandoned: `sweep` removes them as soon as nothing is signed.
    """
    store.put(_key(PUBLISHING, release_id), (_LONG_AGO if is_abandoned else utc_now()).encode())


def unmark(store: ObjectStore, kind: str, release_id: str) -> None:
    """Removes a mark, whatever it is called."""
    store.delete(f"{kind}/{release_id}.json")


def publishing_for(store: ObjectStore, release_id: str) -> timedelta:
    """Since a publication began; none where somebody has just removed its mark, or nobody can say."""
    key = f"{PUBLISHING}/{release_id}.json"
    try:
        text = store.get(key, max_bytes=_MAX_BYTES).decode("ascii", "replace")
        began = time_of(check_time(key, text))
    except (NotStoredError, ContractError):
        return timedelta(0)
    return datetime.now(UTC) - began


def await_reports(store: ObjectStore, release_id: str, until: datetime) -> None:
    """Keeps a release at least until then, since somebody waits for reports on it."""
    until_s = max(until.timestamp(), _until(store, release_id))
    store.put(_key(AWAITED, release_id), json.dumps({"until": until_s}).encode())


def is_awaited(store: ObjectStore, release_id: str) -> bool:
    """Whether somebody waits for reports on a release now; a mark that nobody can read counts for nothing."""
    return _until(store, release_id) > datetime.now(UTC).timestamp()


def _until(store: ObjectStore, release_id: str) -> float:
    try:
        return float(json.loads(store.get(f"{AWAITED}/{release_id}.json", max_bytes=_MAX_BYTES))["until"])
    except (NotStoredError, ContractError, ValueError, KeyError, TypeError):
        return 0.0


def _key(kind: str, release_id: str) -> str:
    return f"{kind}/{check_release_id('release_id', release_id)}.json"
