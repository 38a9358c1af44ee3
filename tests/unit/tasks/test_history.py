"""The history of nights: what the store holds, what it comes to, and the page, the table and the JSON of it."""

from __future__ import annotations

import json
import logging
import re
import time
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from benchmarks.making.schemas import SCHEMAS
from infra.device.stores.folder_store import FolderStore
from infra.fleet import rows
from modnet.records import FrontPoint, Night, Trial
from modnet.records.nights import night_key, trial_key
from tasks import cli, publish_history
from tasks.history import Memory, remembered
from tasks.history_page import history_page
from tasks.history_summary import history_of, nights_without_gain
from tests.unit.infra.fleet.test_findings import ROW
from tests.unit.tasks.demo_history import BASE, BROKEN, NOW, OLD_BASE, fill, fill_demo, put

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> ' onmouseover='alert(3) \x1b[2J\u202e"


@pytest.fixture
def demo(own_store: FolderStore) -> FolderStore:
    fill_demo(own_store)
    return own_store


def night(number: int, before: float | None, after: float | None, **changes: object) -> Night:
    night_id, begun = f"202611{number:02d}T020000Z-0000000{number % 10}", f"2026-11-{number:02d}T02:00:00Z"
    told = {
        "night_id": night_id,
        "base_id": BASE,
        "flow_run_id": None,
        "begun_at": begun,
        "ended_at": begun,
        "hours": 6.0,
        "spent_hours": 5.0,
    }
    told |= {"hypervolume_before": before, "hypervolume": after}
    return Night.model_validate({**told, **changes})


def tried(name: str, error: float | None, latency: float | None, night_id: str, **changes: object) -> Trial:
    told = {"status": "trained", "macs": 4_000_000_000, "parameters": 10, "seconds": 1.0, "epochs": 3, "label": name}
    told |= {"at": "2026-11-10T03:00:00Z", "base_id": BASE, "night_id": night_id}
    return Trial(candidate_id=name, error_ratio=error, latency_ratio=latency, **{**told, **changes})


def memory_of(nights: list[Night], trials: list[Trial]) -> Memory:
    return Memory(nights, trials, [], [], frozenset(), [])


def page_of(memory: Memory, store: FolderStore) -> str:
    return history_page(memory, history_of(memory), store.link, NOW).decode()


def test_what_cannot_be_read_is_left_out_and_named(demo: FolderStore) -> None:
    memory = remembered(demo)
    assert {one.key for one in memory.left_out} == set(BROKEN)
    assert (len(memory.nights), len(memory.trials), len(memory.decisions)) == (24, 69, 6)
    page = page_of(memory, demo)
    assert "Left out: 4 records" in page
    assert all(key in page for key in BROKEN)


def test_a_record_under_the_key_of_another_is_left_out(own_store: FolderStore) -> None:
    one = night(1, 0.5, 0.6)
    put(own_store, night_key("20261109T020000Z-00000000"), one)
    put(
        own_store,
        night_key("20261108T020000Z-00000000"),
        night(8, 0.5, 0.6, night_id="20261108T020000Z-00000000", begun_at="soon"),
    )
    put(own_store, trial_key("0123456789ab", "one"), tried("one", 1.0, 1.0, one.night_id))
    left_out = {one.key: one.reason for one in remembered(own_store).left_out}
    assert left_out["nights/20261109T020000Z-00000000.json"] == f"it speaks of {night_key(one.night_id)}"
    assert "soon" in left_out["nights/20261108T020000Z-00000000.json"]
    assert left_out["trials/0123456789ab/one.json"] == f"it speaks of trials/{BASE}/one.json"


def test_other_objects_under_these_prefixes_are_nobodys_warning(own_store: FolderStore) -> None:
    own_store.put("nights/20261101T020000Z-00000000/0001.json", b"of a search")
    assert remembered(own_store).left_out == []


def test_a_thousand_trials_are_read_in_seconds_and_little_memory(own_store: FolderStore) -> None:
    fill(own_store, nights=334)
    tracemalloc.start()
    begun = time.monotonic()
    memory = remembered(own_store)
    page_of(memory, own_store)
    spent_s, (_, peak) = time.monotonic() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(memory.trials) == 1002
    assert spent_s < 60  # a second or two; a loaded machine and the tracing of memory take their time
    assert peak < 50e6


def test_an_empty_store_says_what_to_start(own_store: FolderStore) -> None:
    page = page_of(remembered(own_store), own_store)
    assert "No night has left anything" in page
    assert "make nightly" in page


def test_devices_that_measured_before_any_night_are_shown(own_store: FolderStore) -> None:
    rows.keep(own_store, {"reports/kitchen": ROW})
    page = page_of(remembered(own_store), own_store)
    assert "No night has left anything" in page
    assert "<h2>What cpu-int8 ran</h2>" in page
    assert "kitchen: 10 ms (9 to 11)" in page


def test_the_lead_says_what_helped_and_what_to_try(own_store: FolderStore) -> None:
    first, last = night(9, 0.0, 0.5), night(10, 0.5, 0.55)
    points = [
        tried("small", 1.4, 0.3, last.night_id, macs=2 * 10**9),
        tried("large", 1.05, 0.8, first.night_id, macs=8 * 10**9),
    ]
    points += [tried("lost", None, None, last.night_id, status="failed", reason="disk full after 3 epochs", macs=1)]
    last = last.model_copy(
        update={
            "trials": ("small", "lost"),
            "front": (FrontPoint(candidate_id="small", label="small", error_ratio=1.4, latency_ratio=0.3),),
        }
    )
    (base,) = history_of(memory_of([first, last], points)).bases
    gained, failed, following = base.lead
    assert "2026-11-10, helped" in gained
    assert "rose from 0.5000 to 0.5500 (+10.0 %), with 1 new point" in gained
    assert "No target changed hands" in gained
    assert failed == (
        "Of 2 candidates that it tried: 1 trained to the end, 1 failed. Most often: failed, disk full after 3 epochs."
    )
    # between small and large 0.5 x 0.35, between large and the unpruned network 0.2 x 0.05
    assert base.gap is not None
    assert (base.gap.faster, base.gap.better) == ("small", "large")
    assert base.gap.area == pytest.approx(0.5 * 0.35)
    assert following.startswith("To try next: about 4 GMAC.")


def test_a_last_night_without_gain_says_so_and_for_how_long() -> None:
    nights = [night(1, 0.4, 0.5), night(2, 0.5, 0.5), night(3, None, None), night(4, 0.5, 0.5)]
    assert nights_without_gain(nights) == 2
    (base,) = history_of(memory_of(nights, [])).bases
    assert (
        "2026-11-04, did not help: the hypervolume of the front stayed at 0.5000. That makes 2 nights" in base.lead[0]
    )
    assert nights_without_gain([*nights, night(5, 0.5, 0.6)]) == 0


def test_what_hands_were_changed_since_the_last_night_began(demo: FolderStore) -> None:
    memory = remembered(demo)
    (lead, *_) = history_of(memory).lead
    assert lead.endswith("cpu-int8 runs bbbbbbbbbbbb (6.7G:taylor) instead of cccccccccccc.")
    (lead, *_) = history_of(replace(memory, decisions=memory.decisions[:-1])).lead
    assert lead.endswith("No target changed hands since it began.")


def test_latency_of_champions_is_by_the_first_and_a_roll_back_is_not_multiplied(demo: FolderStore) -> None:
    (int8,) = (one for one in history_of(remembered(demo)).targets if one.target == "cpu-int8")
    assert [reign.kind for reign in int8.reigns] == ["first", "promoted", "promoted", "rolled back"]
    assert [reign.latency_to_first for reign in int8.reigns] == pytest.approx([1.0, 0.84, 0.84 * 0.91, 0.84])
    assert len(int8.decisions) == 5


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    trials = [
        tried("a", None, None, "n", status="failed", reason="out of memory: 3.1 GiB", at="2026-11-10T03:00:00Z"),
        tried("b", None, None, "n", status="failed", reason="out of memory: 12 GiB", at="2026-11-11T03:00:00Z"),
        tried("c", 1.9, 0.5, "n", status="stopped", reason="out of memory: 12 GiB"),
        tried("d", 1.9, 0.5, "n"),
    ]
    (base,) = history_of(memory_of([], trials)).bases
    assert [(one.status, one.count, one.reason) for one in base.causes] == [
        ("failed", 2, "out of memory: 12 GiB"),
        ("stopped", 1, "out of memory: 12 GiB"),
    ]


def test_each_base_has_a_section_and_the_newest_comes_first(demo: FolderStore) -> None:
    page = page_of(remembered(demo), demo)
    assert page.index(f"<h2>Base {BASE}") < page.index(f"<h2>Base {OLD_BASE}")


def test_points_lead_to_the_report_of_their_night_where_it_is_still_there(demo: FolderStore) -> None:
    memory = remembered(demo)
    base = history_of(memory).bases[0]
    page = page_of(memory, demo)
    with_page = [line for line in base.front if line.page is not None]
    assert with_page
    for line in base.front:
        is_linked = f"#:~:text={line.candidate_id}'" in page
        assert is_linked == (line.page is not None)
    assert f'<a href="{demo.link(with_page[0].page)}#:~:text={with_page[0].candidate_id}">' in page


def test_the_page_is_well_formed_and_nothing_in_it_is_run(own_store: FolderStore) -> None:
    one = night(1, 0.4, 0.5)
    put(own_store, night_key(one.night_id), one)
    for name, changes in {"good": {}, "bad": {"status": "failed", "reason": HOSTILE}}.items():
        put(own_store, trial_key(BASE, name), tried(name, 1.0, 0.5, one.night_id, **{"label": HOSTILE, **changes}))
    own_store.put("decisions/x/y.json", HOSTILE.encode())
    page = page_of(remembered(own_store), own_store)
    opened: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            opened.append(tag)
            assert not any(name.startswith("on") for name, _ in attributes)

    Tags().feed(page)
    assert {"script", "img"}.isdisjoint(opened)
    assert "\x1b" not in page
    for svg in re.findall(r"<svg.*?</svg>", page):
        ElementTree.fromstring(svg)
    assert not re.search(r"(src|href)=[\"'](?!file:)", page)


def test_the_flow_writes_the_page_and_its_link(demo: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, str] = {}
    told: list[str] = []
    monkeypatch.setattr(publish_history, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(publish_history, "create_link_artifact", lambda link, key, **_: shown.update({key: link}))
    monkeypatch.setattr(publish_history, "tell_no_gain", lambda nights, ended: told.append(ended))
    address = publish_history.publish_history.fn()
    assert shown == {"history": address}
    assert demo.get(publish_history.PAGE).startswith(b"<!doctype html>")
    assert told == []
    publish_history.publish_history.fn("20261130T020000Z-00000000")
    assert told == ["20261130T020000Z-00000000"]


def test_the_verb_prints_the_same_as_text_and_as_json(demo: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("history: The last night, 2026-11-29")
    assert "| night | hypervolume |" in text
    assert "What cpu-int8 ran" in text
    assert cli.main(["history", "--json"]) == 0
    document = capsys.readouterr().out
    jsonschema.validate(json.loads(document), SCHEMAS["history"]())
    assert json.loads(document)["form"] == 1


def test_the_verb_of_an_empty_store_and_of_none(
    own_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["history"]) == 0
    assert "no night has left anything" in capsys.readouterr().out
    monkeypatch.setenv("MODNET_STORE", "ftp://elsewhere")
    assert cli.main(["history"]) == 3
    assert "MODNET_STORE" in capsys.readouterr().err
