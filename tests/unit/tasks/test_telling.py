"""What people are told, once each, and that nothing of it ends a run."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from infra.device.errors import StoreUnavailableError
from infra.device.stores.folder_store import FolderStore
from infra.fleet.findings import Silent
from infra.local_stack.automations import DEVICES_SILENT, NEW_CHAMPION, NO_GAIN
from modnet.records import Decision
from tasks import telling
from tests.unit.tasks.test_history import night

SINCE = datetime(2026, 11, 29, tzinfo=UTC)
Told = list[tuple[str, str, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Event, resource and text of what Prefect was told."""
    found: Told = []

    def emit(event: str, resource: dict[str, str], payload: dict[str, str]) -> None:
        found.append((event, resource["prefect.resource.id"], payload["text"]))

    monkeypatch.setattr(telling, "emit_event", emit)
    monkeypatch.setattr(telling, "get_run_logger", lambda: logging.getLogger("run"))
    return found


def decided(before: str | None, after: str) -> Decision:
    kind = "kept" if before == after else "promoted"
    at = "20261130T080000.000000Z"
    return Decision(target="cpu-int8", at=at, by="decide", kind=kind, before=before, after=after, words="It is faster.")


def test_a_new_champion_is_told_and_one_that_stays_is_not(told: Told) -> None:
    telling.tell_new_champion(decided("a", "a"))
    assert told == []
    telling.tell_new_champion(decided("a", "b"))
    telling.tell_new_champion(decided(None, "b"))
    words = "cpu-int8 runs b, before {} (promoted): It is faster."
    about = (NEW_CHAMPION, "modnet.target.cpu-int8")
    assert told == [(*about, words.format("a")), (*about, words.format("nothing"))]


def test_nights_without_gain_are_told_every_third_time(told: Told) -> None:
    nights = [night(number, 0.5, 0.5) for number in range(1, 8)]
    for number in range(1, 8):
        telling.tell_no_gain(nights[:number], nights[number - 1].night_id)
    assert [text[:20] for _, _, text in told] == ["3 nights in a row fo", "6 nights in a row fo"]
    assert {(event, about) for event, about, _ in told} == {(NO_GAIN, f"modnet.base.{nights[0].base_id}")}
    others = [one.model_copy(update={"base_id": "another"}) for one in nights[:2]]
    telling.tell_no_gain([*nights[:2], *others], others[-1].night_id)
    telling.tell_no_gain(nights, "a night that is not there")
    assert len(told) == 2


def test_a_silence_is_told_once_for_each_release(told: Told, own_store: FolderStore) -> None:
    def silent(device: str, release: str | None = "aaaaaaaaaaaa", target: str | None = "cpu-int8") -> Silent:
        return Silent(device, target, release, SINCE, None)

    telling.tell_silent_devices(own_store, [])
    assert (told, own_store.list("")) == ([], [])
    two = [silent("attic"), silent("kitchen"), silent("lost", None, None)]
    telling.tell_silent_devices(own_store, two)
    telling.tell_silent_devices(own_store, two)
    assert told == [
        (DEVICES_SILENT, "modnet.target.any", "1 device with a key, never heard of, silent: lost"),
        (DEVICES_SILENT, "modnet.target.cpu-int8", "2 devices of cpu-int8, silent: attic, kitchen"),
    ]
    told.clear()
    telling.tell_silent_devices(own_store, [silent("attic", "bbbbbbbbbbbb"), silent("kitchen")])
    assert [text for _, _, text in told] == ["1 device of cpu-int8, silent: attic"]
    telling.tell_silent_devices(own_store, [])
    telling.tell_silent_devices(own_store, [silent("kitchen")])
    assert len(told) == 2


def test_many_devices_and_hostile_names_make_one_short_text(told: Told, own_store: FolderStore) -> None:
    many = [Silent(f"device-{number:03d}\x1b[2J", "cpu-int8", "a", SINCE, None) for number in range(100)]
    telling.tell_silent_devices(own_store, many)
    ((_, _, text),) = told
    assert text.startswith("100 devices of cpu-int8, silent: ")
    assert text.endswith(" and 90 more")
    assert "\x1b" not in text


def test_what_cannot_be_told_is_a_warning(
    own_store: FolderStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: Told
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Prefect\nis away")

    monkeypatch.setattr(telling, "emit_event", refuse)
    telling.tell_new_champion(decided("a", "b"))
    assert caplog.messages == [rf"{NEW_CHAMPION} cannot be told, the work goes on: Prefect\nis away"]

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("nobody answers")

    monkeypatch.setattr(own_store, "get", away)
    telling.tell_silent_devices(own_store, [Silent("attic", "cpu-int8", "a", SINCE, None)])
    assert caplog.messages[-1] == "silent devices cannot be told, the work goes on: nobody answers"
    assert told == []
