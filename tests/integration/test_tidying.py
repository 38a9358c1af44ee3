"""A real S3 server is tidied: what is kept and what goes, by the server's own times."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from infra.device.stores.object_store import open_store
from modnet.records import RetrainReport
from tasks import stored
from tasks.configs.tidy import TidyConfig
from tasks.stored import get_record
from tasks.stored_network import retrained_key
from tasks.tidying import fates, remove, rows
from tests.signing import publisher_of
from tests.unit.tasks.test_tidying import History, name


def test_tidying_on_s3(
    s3_environ: Callable[[str], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in s3_environ("pipeline").items():
        monkeypatch.setenv(variable, value)
    store = open_store(f"s3://modnet/tests/{uuid4().hex}")
    history = History(tmp_path)
    history.store = store  # type: ignore[assignment]
    history.base()
    for number in (1, 2, 3):
        history.candidate(name(number))
        history.answers(name(number), 0xA000 + number)
    history.page(0xF001, name(1))
    store.put("mine/notes.txt", b"mine")
    publisher, config = publisher_of(store), TidyConfig(keep_runs=1)
    now = datetime.now(UTC)
    assert all(fate.stays for fate in fates(publisher, now, config))

    chosen = fates(publisher, now + timedelta(days=15), config)
    monkeypatch.setattr(stored, "DATED_ANEW_AFTER", timedelta(seconds=-10))
    time.sleep(1.1)  # S3 tells whole seconds
    get_record(store, retrained_key(name(3)), RetrainReport)  # a run asks for it, after tidy has looked
    gone = [fate for fate in remove(store, chosen) if not fate.stays]
    assert {fate.unit.prefix for fate in gone if fate.unit.kind == "candidates"} == {f"candidates/{name(2)}/"}
    assert {key.split("/")[1] for key in store.list("candidates/")} == {name(1), name(3)}
    assert store.exists(f"scores/{name(0xA001)}.json")
    assert not store.exists(f"scores/{name(0xA002)}.json")
    assert store.get("mine/notes.txt") == b"mine"
    table = rows(store.sizes(""), fates(publisher, now + timedelta(days=15), config))
    assert {row["why"] for row in table if row["kind"] == "mine"} == {"not of what is tidied"}
