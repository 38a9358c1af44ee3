"""A store with 20 nights; `python -m tests.unit.tasks.demo_history FOLDER` fills one, prints its page."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.device.documents.checks import time_text
from infra.device.stores.folder_store import FolderStore
from infra.device.stores.object_store import ObjectStore
from infra.fleet import rows
from modnet.records import Contender, Decision, FrontPoint, Night, Record, Trial
from modnet.records.nights import decision_key, night_key, trial_key
from modnet.search.hypervolume import front, hypervolume
from tasks.history import remembered
from tasks.history_page import history_page
from tasks.history_summary import history_of
from tests.unit.infra.fleet.test_findings import ROW

NIGHTS, TRIALS_A_NIGHT = 20, 3
BASE, OLD_BASE = "b4534ba5e000", "01dba5e00000"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
BROKEN = {
    f"trials/{BASE}/half0written.json": b'{"candidate_id": "half0wri',
    f"trials/{BASE}/anotherversi.json": b'{"candidate_id": "anotherversi", "of_version_9": true}',
    "nights/20261101T020000Z-00000000.json": b"",
    "decisions/cpu-int8/20261101T020000.000000Z.json": b'["<script>alert(1)</script>"]',
}
REASONS = {
    "stopped": "error {:.2f} after 4 epochs, and 5 of 8 others were better",
    "failed": "CUDA out of memory: tried to allocate {:.2f} GiB",
    "refused": "latency {:.2f} of the base's, wanted at most 0.90",
}


def put(store: ObjectStore, key: str, record: Record) -> None:
    store.put(key, record.model_dump_json().encode())


def trial(number: int, night: str, at: str, generator: random.Random, base: str = BASE) -> Trial:
    """Later ones are a little better; one in four does not come to its end."""
    latency = generator.uniform(0.22, 1.05)
    skill = 0.25 * generator.random() * max(0.2, 1 - number / 120)
    status = generator.choice(["trained"] * 9 + ["stopped", "failed", "refused"])
    is_placed = status in ("trained", "stopped")
    return Trial(
        candidate_id=f"{generator.getrandbits(48):012x}",
        base_id=base,
        label=f"{8.6 * latency:.1f}G:{generator.choice(['taylor', 'l1'])}{generator.choice(['', '@480x320'])}",
        night_id=night,
        at=at,
        status=status,
        reason=REASONS[status].format(1 + generator.random()) if status in REASONS else "",
        epochs=4 if status == "stopped" else 12 * (status == "trained"),
        error_ratio=0.93 + 0.055 / latency + skill + 0.5 * (status == "stopped") if is_placed else None,
        latency_ratio=latency if status != "failed" else None,
        macs=round(8.6e9 * latency),
        parameters=round(6.5e6 * latency),
        seconds=4000 * generator.random(),
    )


def decision(target: str, at: str, kind: str, before: str | None, after: str, error: float, ratio: float) -> Decision:
    label = f"{6 * error:.1f}G:taylor"
    contender = Contender(
        release_id=after if kind != "kept" else "c0ffee000000",
        network_id="f00d00000000",
        label=label,
        error=error / 100,
        difference_low=-0.002,
        difference_high=0.0001,
        latency_ratio=ratio,
        latency_low=ratio - 0.02,
        latency_high=ratio + 0.02,
        latency_by="kitchen, attic",
    )
    words = f"{label} takes {100 * (1 - ratio):.0f} % less time on kitchen and attic, and does not surely err more."
    if kind == "rolled back":
        words = "kitchen rejected it: its output is wrong on 2 of 8 golden images."
    if kind == "kept":
        words = f"{label} surely errs more: by 0.0021 to 0.0043."
    return Decision(
        target=target, at=at, by="decide", kind=kind, before=before, after=after, words=words, contenders=(contender,)
    )


def fill(store: ObjectStore, nights: int = NIGHTS, base: str = BASE, seed: int = 7, until: datetime = NOW) -> None:
    """Nights of one base, each with TRIALS_A_NIGHT trials."""
    generator = random.Random(seed)
    trained: list[Trial] = []
    volume = 0.0
    for number in range(nights):
        begun = until - timedelta(days=nights - number, hours=10)
        night_id = f"{begun:%Y%m%dT%H%M%SZ}-{number:08x}"
        tried = [
            trial(
                TRIALS_A_NIGHT * number + one, night_id, (begun + timedelta(hours=one + 1)).isoformat(), generator, base
            )
            for one in range(TRIALS_A_NIGHT)
        ]
        for one in tried:
            put(store, trial_key(base, one.candidate_id), one)
        trained += [one for one in tried if one.status == "trained"]
        places = {(one.error_ratio or 0.0, one.latency_ratio or 0.0): one for one in trained}
        points = [
            FrontPoint(
                candidate_id=places[place].candidate_id,
                label=places[place].label,
                error_ratio=place[0],
                latency_ratio=place[1],
            )
            for place in front(places)
        ]
        before, volume = volume, hypervolume(places)
        page = f"runs/{number:012x}/report.html"
        if number > 2:  # older ones were tidied away
            rows_of_page = "".join(f"<p>{one.label} {one.candidate_id}</p>" for one in tried)
            store.put(page, f"<!doctype html><h1>Night {number}</h1>{rows_of_page}".encode())
        put(
            store,
            night_key(night_id),
            Night(
                night_id=night_id,
                base_id=base,
                flow_run_id=None,
                page=page,
                begun_at=begun.isoformat(),
                ended_at=(begun + timedelta(hours=6)).isoformat(),
                hours=6.0,
                spent_hours=generator.uniform(4.5, 6.2),
                busy_share=generator.uniform(0.6, 0.97),
                trials=tuple(one.candidate_id for one in tried),
                front=tuple(points),
                hypervolume_before=before,
                hypervolume=volume,
            ),
        )


def fill_demo(store: ObjectStore) -> None:
    """20 nights of a base and three of an older one, six decisions, two targets' devices, and four broken records."""
    fill(store)
    fill(store, nights=3, base=OLD_BASE, seed=3, until=NOW - timedelta(days=30))
    under_way = NOW - timedelta(hours=2)
    night_id = f"{under_way:%Y%m%dT%H%M%SZ}-000000ff"
    begun = under_way.isoformat()
    told = {"night_id": night_id, "base_id": BASE, "flow_run_id": None, "begun_at": begun, "hours": 6.0}
    put(store, night_key(night_id), Night.model_validate({**told, "ended_at": None, "spent_hours": 2.0}))
    releases = ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"]
    days = [time_text(NOW - timedelta(days=days)) for days in (18, 12, 8, 5, 1)]
    for one in (
        decision("cpu-int8", days[0], "first", None, releases[0], 1.15, 1.0),
        decision("cpu-int8", days[1], "promoted", releases[0], releases[1], 1.12, 0.84),
        decision("cpu-int8", days[2], "kept", releases[1], releases[1], 1.31, 0.71),
        decision("cpu-int8", days[3], "promoted", releases[1], releases[2], 1.08, 0.91),
        decision("cpu-int8", days[4], "rolled back", releases[2], releases[1], 1.12, 1.1),
        decision("cpu-fp32", days[1], "first", None, releases[1], 1.10, 1.0),
    ):
        put(store, decision_key(one.target, one.at), one)
    found = {}
    for device, speed in (("attic", 31.0), ("kitchen", 22.0), ("<b>odd</b>", 54.0)):
        for column, release in enumerate(releases):
            p50 = speed * 0.85**column
            at = time_text(NOW - timedelta(days=18 - 6 * column))
            row = replace(ROW, device=device, release_id=release, started_at=at, p50_ms=p50, p50_low=p50 * 0.97)
            key = f"reports/{device}/{release}/cpu-int8.json"
            found[key] = replace(row, p50_high=p50 * 1.04, key=key)
    rows.keep(store, found)
    for key, content in BROKEN.items():
        store.put(key, content)


if __name__ == "__main__":
    demo = FolderStore(Path(sys.argv[1]))
    fill_demo(demo)
    memory = remembered(demo)
    sys.stdout.write(history_page(memory, history_of(memory), demo.link, NOW).decode())
