"""Tasks of the flow collect, on a folder store, and the page that they write."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from infra.device.documents.latency_report import Comparison, LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.stores.folder_store import FolderStore
from infra.fleet.findings import Running
from infra.fleet.rows import Collected
from infra.ingest.devices import DeviceRegistry
from infra.local_stack.environments import MARKER
from infra.publishing.releases import promote
from tasks import collect
from tasks.fleet_page import MAX_ROWS, Fleet, fleet_page, fleet_tables
from tasks.fleet_plot import Point, latency_svg
from tests.signing import publisher_of
from tests.unit.infra.exported import three_releases
from tests.unit.infra.fleet.test_findings import NEW, NOW, OLD, ROW, pointer

Shown = dict[str, object]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> ' onmouseover='alert(3) \x1b[2J\u202e"


@pytest.fixture
def store(own_store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.delenv(MARKER, raising=False)
    monkeypatch.setattr(collect, "get_run_logger", lambda: logging.getLogger("run"))
    return own_store


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What Prefect is shown, by key."""
    shown: Shown = {}
    monkeypatch.setattr(collect, "create_table_artifact", lambda rows, key, description: shown.update({key: rows}))
    monkeypatch.setattr(collect, "create_link_artifact", lambda link, key, **_: shown.update({key: link}))
    monkeypatch.setattr(collect, "write_metrics", lambda fleet, _: shown.update({"metrics": len(fleet.silent())}))
    monkeypatch.setattr(collect, "tell_silent_devices", lambda _, silent: shown.update({"told": len(silent)}))
    return shown


def report(device: str, release_id: str, *, reason: str | None = None) -> LatencyReport:
    samples = (10.0, 11.0, 12.0)
    outcome = {"status": "failed", "reason": reason}
    if reason is None:
        outcome = {"status": "measured", "input_shape": (1, 3, 64, 64), "load_ms": 1.0, "samples_ms": samples}
        outcome |= {"summary": summarise(samples), "intervals_ms": intervals(samples)}
    return LatencyReport(
        release_id=release_id,
        target="cpu-int8",
        device=device,
        runtime="openvino",
        started_at="20261128T000000.000000Z",
        conditions={},
        **outcome,
    )


def test_what_was_reported_stands_on_the_page_and_in_the_artifacts(
    store: FolderStore, artifacts: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = three_releases(store, tmp_path)[0]
    promote(publisher_of(store), "cpu-int8", release)
    registry = DeviceRegistry(tmp_path / "stack" / "devices.json")
    for name in ("kitchen", "lost", "revoked"):
        registry.add(name)
    registry.revoke("revoked")
    monkeypatch.setenv(MARKER, str(tmp_path / "stack"))
    for one in (report("kitchen", release), report("attic", release, reason="no room"), report("revoked", release)):
        store.put(one.key(), one.to_json())
    assert collect.collect_new.fn() == 3
    address = collect.publish_fleet.fn(0.02, 0.0)
    page = store.get(collect.PAGE).decode()
    assert "2 reports of 2 devices on 1 target and 1 release" in page
    assert f"{release}, runs now" in page
    assert "no room" in page
    assert "revoked" not in page
    assert artifacts["fleet"] == address
    assert artifacts["metrics"] == artifacts["told"] == 1
    (target,) = [row for row in artifacts["fleet-targets"] if row["target"] == "cpu-int8"]
    assert (target["runs"], target["measured"], target["rejected"]) == (release, "1", "1")
    assert [row["device"] for row in artifacts["fleet-silent-devices"]] == ["lost"]
    assert [row["reason"] for row in artifacts["fleet-rejected-releases"]] == ["no room"]

    artifacts.clear()
    assert collect.collect_new.fn() == 0
    collect.publish_fleet.fn(0.02, 24.0)
    assert list(artifacts) == ["metrics", "told", "fleet"]


def test_an_empty_store_has_an_empty_page(
    store: FolderStore, artifacts: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    assert collect.collect_new.fn() == 0
    collect.publish_fleet.fn(0.02, 24.0)
    assert "0 reports of 0 devices" in store.get(collect.PAGE).decode()
    assert "what devices run is not known" in caplog.text


def test_the_log_says_what_was_put_aside_and_that_all_was_read_anew(
    store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    one = report("kitchen", OLD)
    store.put(one.key(), one.to_json())
    for number in range(30):
        store.put(f"reports/liar/{OLD}/x-20261128T000000.{number:06d}Z.json", HOSTILE.encode())
    store.put("fleet/collected.jsonl.gz", b"damaged")
    with caplog.at_level(logging.INFO):
        assert collect.collect_new.fn() == 1
    assert "all reports were read anew: fleet/collected.jsonl.gz" in caplog.text
    assert caplog.text.count("no report, in quarantine/ now: reports/liar/") == 20
    assert "and 10 more" in caplog.text
    assert len(store.list("quarantine/reports/")) == 30


def test_a_registry_that_cannot_be_read_hinders_nothing(
    store: FolderStore,
    artifacts: Shown,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "devices.json").write_text("{")
    (tmp_path / "devices.json").chmod(0o600)
    monkeypatch.setenv(MARKER, str(tmp_path))
    collect.publish_fleet.fn(0.02, 24.0)
    assert "which devices have keys is not known" in caplog.text
    assert store.exists(collect.PAGE)


def fleet(*rows: Collected, now: datetime = NOW) -> Fleet:
    return Fleet(
        rows,
        Running({"cpu-int8": pointer()}, {}),
        {"cpu-int8": "all devices run it"},
        {},
        0,
        now,
        0.02,
        timedelta(hours=24),
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_that_devices_wrote_runs_on_the_page() -> None:
    slower = Comparison(OLD, 9, 1.2, 1.1, 1.3)
    rows = [
        replace(ROW, runtime=HOSTILE, doubts=(HOSTILE,), precision=HOSTILE, comparison=slower),
        replace(ROW, runtime="another", device="kitchen"),
        replace(ROW, device="attic", status="wrong", reason=HOSTILE, p50_ms=None, p50_low=None, p50_high=None),
    ]
    page = fleet_page(fleet(*rows)).decode()
    tags = Tags()
    tags.feed(page)
    assert {"script", "img", "iframe", "link", "object"}.isdisjoint(tag for tag, _ in tags.found)
    names = {name for _, attributes in tags.found for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "src"]
    assert all(one.startswith("#") for _, attributes in tags.found if (one := attributes.get("href") or "#"))
    assert page.count("&lt;script&gt;alert(1)") >= 5
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_page_says_who_is_slower_silent_wrong_and_doubted() -> None:
    slower = replace(ROW, release_id=NEW, comparison=Comparison(OLD, 9, 1.2, 1.1, 1.3))
    faster = replace(slower, device="attic", comparison=Comparison(OLD, 9, 0.8, 0.7, 0.9))
    wrong = replace(ROW, device="door", status="wrong", reason="golden image", p50_ms=None, p50_low=None, p50_high=None)
    doubted = replace(ROW, device="cellar", doubts=("it throttled",))
    tables = fleet_tables(fleet(ROW, slower, faster, wrong, doubted))
    assert tables["Targets"] == [
        {
            "target": "cpu-int8",
            "runs": NEW,
            "state": "all devices run it",
            "since": "2026-11-29 00:00",
            "before": OLD,
            "pinned": "0",
            "measured": "2",
            "slower": "1",
            "faster": "1",
            "rejected": "0",
            "silent": "2",
        }
    ]
    ratios = [(row["device"], row["ratio of times"]) for row in tables["Slower than the release before"]]
    assert ratios == [("kitchen", "1.200 (1.100 to 1.300)")]
    assert [(row["device"], row["reason"]) for row in tables["Rejected releases"]] == [("door", "golden image")]
    assert [(row["device"], row["for"]) for row in tables["Silent devices"]] == [("cellar", "36 h"), ("door", "36 h")]
    assert [(row["device"], row["why"]) for row in tables["Not to be trusted"]] == [("cellar", "it throttled")]
    page = fleet_page(fleet(ROW, slower, faster, wrong, doubted)).decode()
    assert re.search(r"<td class='slower'>10.0 \(9.0 to 11.0\)</td>", page)
    assert "<td class='rejected' title='golden image'>wrong</td>" in page


def test_the_smallest_latency_that_a_report_may_say_is_drawn() -> None:
    tiny = replace(ROW, p50_ms=5e-324, p50_low=5e-324, p50_high=5e-324, target="made-up")
    assert b"made-up" in fleet_page(fleet(tiny))


def test_a_large_fleet_has_a_page_of_bounded_size() -> None:
    rows = [
        replace(ROW, device=f"device-{number}", release_id=f"{release:012x}", doubts=("it throttled",))
        for number in range(300)
        for release in range(20)
    ]
    page = fleet_page(fleet(*rows)).decode()
    assert "And 5900 more." in page
    assert "And 200 more." in page
    assert "12 of 300 lines are drawn." in page
    assert len(page) < 1_000_000
    assert len(fleet_tables(fleet(*rows))["Not to be trusted"]) > MAX_ROWS


@pytest.mark.parametrize("ms", [0.001, 10.0, 1e9])
def test_a_plot_is_well_formed_and_stays_within_its_frame(ms: float) -> None:
    line = [Point(0, ms, ms, ms, False), Point(2, 3 * ms, 2 * ms, 30 * ms, True)]
    svg = ElementTree.fromstring(latency_svg([OLD, NEW, "c" * 12], {HOSTILE: line, "none": [], "one": line[:1]}))
    inner = "{http://www.w3.org/2000/svg}"
    circles = svg.findall(f".//{inner}circle")
    assert len(circles) == 3
    for circle in circles:
        assert 0 < float(circle.attrib["cx"]) < 1000
        assert 0 < float(circle.attrib["cy"]) < 320
    assert [one.attrib["fill"] for one in circles].count("#fff") == 1
    assert len(svg.findall(f"{inner}text")) >= 6  # names of releases and devices, numbers of the scale
