"""What goes of a store and what stays: by runs, releases, use and age; and what a kill in between leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

import tasks.collect
import tasks.publish_history
import tasks.tidy
from infra.device.documents.pointer import Pointer, pin_path, pointer_path
from infra.device.errors import ConflictError, NotStoredError
from infra.device.stores.folder_store import FolderStore
from infra.local_stack.wait_for_store import wait_for_store
from infra.publishing.marks import await_reports, mark_publishing
from infra.publishing.pointers import pin
from infra.publishing.releases import promote, published
from infra.publishing.retiring import retire
from infra.publishing.roll_backs import stop
from modnet.configs import PruningConfig
from modnet.records import (
    BaseRecord,
    Candidate,
    DatasetCheck,
    HostLatencies,
    RetrainReport,
    Sheet,
    StoredCheck,
    StoredFile,
    TimedForms,
)
from modnet.records.nights import event_key
from tasks.configs.tidy import TidyConfig
from tasks.decisions import record_decision
from tasks.stored import get_record, put_file, put_record, recall
from tasks.stored_network import base_key, candidate_key, retrained_key, state_key
from tasks.tidying import _LAYOUT, LEFT_ALONE, Fate, fates, remove, rows, units_of
from tests.signing import keys, publisher_of, sign
from tests.unit.infra.exported import three_releases
from tests.unit.tasks.demo_history import fill
from tests.unit.tasks.test_provenance import COST, TRAINING

NOW = datetime.now(UTC)


def name(number: int) -> str:
    return f"{number:012x}"


DATA, BASE = name(0xDA7A), name(0xBA5E)
CHECK = DatasetCheck(splits=(), findings=())


class History:
    """A store that is filled at chosen times."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder)
        self.folder = folder

    def copy(self, folder: Path) -> History:
        """With the times."""
        shutil.copytree(self.folder, folder)
        return History(folder)

    def dated(self, days_ago: float, write: Callable[[], object]) -> None:
        """Whatever `write` puts there was put there so many days ago."""
        before = self.store.written("")
        write()
        for key, time in self.store.written("").items():
            if before.get(key) != time:
                self.date(key, days_ago)

    def date(self, key: str, days_ago: float) -> None:
        time = (NOW - timedelta(days=days_ago)).timestamp()
        os.utime(self.folder / key, (time, time))

    def base(self, base_id: str = BASE, data: str = DATA) -> None:
        store = self.store
        archive = put_file(store, f"datasets/{data}/archive.zip", b"images")
        store.put(f"datasets/{data}/dataset.json", archive.model_dump_json().encode())
        file = put_file(store, f"bases/{base_id}/base.safetensors", base_id.encode())
        record = BaseRecord(
            base_id=base_id, dataset_id=data, checkpoint=file, complexity=COST, origin="drawn", training=None
        )
        put_record(store, base_key(base_id), record)
        page = put_file(store, f"checks/{name(int(data, 16) + 1)}.html", b"page")
        put_record(
            store, f"checks/{name(int(data, 16) + 1)}.json", StoredCheck(dataset_id=data, check=CHECK, page=page)
        )

    def candidate(self, candidate_id: str, parent: str = BASE) -> None:
        """With everything that a night leaves of it."""
        store, folder = self.store, f"candidates/{candidate_id}"
        pruned, retrained = (
            put_file(store, f"{folder}/{stem}.safetensors", f"{stem} {candidate_id}".encode())
            for stem in ("pruned", "retrained")
        )
        for rest in ("plan.json", "training.jsonl", "training.png", "scales.png"):
            store.put(f"{folder}/{rest}", b"rest")
        candidate = Candidate(
            candidate_id=candidate_id,
            base_id=BASE,
            parent_id=parent,
            dataset_id=DATA,
            pruning=PruningConfig.from_word("3G"),
            retrain={},
            seed=0,
            pruned=pruned,
            complexity=COST,
        )
        put_record(store, candidate_key(candidate_id), candidate)
        report = RetrainReport(candidate_id=candidate_id, checkpoint=retrained, training=TRAINING)
        put_record(store, retrained_key(candidate_id), report)

    def answers(self, candidate_id: str, number: int) -> None:
        """About one candidate, and about it and the base."""
        store, question = self.store, name(number)
        store.put(f"scores/{question}.json", f'{{"network_id": "{candidate_id}"}}'.encode())
        for kind, record in (("timed", "forms"), ("exports", "export")):
            folder = f"{kind}/{question}"
            files = {"modnet-cpu-int8.bin": put_file(store, f"{folder}/modnet-cpu-int8.bin", b"weights")}
            put_record(store, f"{folder}/{record}.json", TimedForms(network_id=candidate_id, files=files))
        samples: dict = {BASE: {"cpu-fp32": (1.0,)}, candidate_id: {"cpu-fp32": (1.0,)}}
        latencies = HostLatencies(host="here", deciding_form="cpu-fp32", samples_ms=samples)
        put_record(store, f"latencies/{question}.json", latencies)
        picture = put_file(store, f"sheets/{question}.png", b"picture")
        put_record(store, f"sheets/{question}.json", Sheet(networks=(BASE, candidate_id), picture=picture))
        store.put(f"sensitivities/{question}/report-{name(2)}.json", f'{{"network_id": "{candidate_id}"}}'.encode())
        store.put(f"sensitivities/{question}/groups/backbone.stem.json", b"{}")

    def page(self, number: int, *networks: str) -> None:
        cells = "".join(f"<td>{one}</td>" for one in (BASE, *networks))
        for file in ("pareto.png", "data.html"):
            self.store.put(f"runs/{name(number)}/{file}", b"file")
        self.store.put(f"runs/{name(number)}/report.html", f"<table>{cells}</table>".encode())

    def night(self, number: int, days_ago: float) -> str:
        """A whole night with one candidate, whose name is returned."""
        self.dated(days_ago, lambda: self.candidate(name(number)))
        self.dated(days_ago, lambda: self.answers(name(number), 0xA000 + number))
        self.dated(days_ago, lambda: self.page(0xF000 + number, name(number)))
        return name(number)

    def fates(self, **rules: int) -> list[Fate]:
        return fates(publisher_of(self.store), NOW, TidyConfig(**rules))

    def tidy(self, **rules: int) -> set[str]:
        """Which keys went."""
        before = set(self.store.list(""))
        remove(self.store, self.fates(**rules))
        return before - set(self.store.list(""))

    def of(self, network: str) -> set[str]:
        """Every object of a night's candidate."""
        number = int(network, 16)
        own = (f"candidates/{network}/", f"runs/{name(0xF000 + number)}/")
        return {key for key in self.store.list("") if key.startswith(own) or name(0xA000 + number) in key}


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A base that was used a year ago for the first time."""
    history = History(tmp_path / "store")
    history.dated(365, history.base)
    return history


def test_the_last_runs_stay_with_all_that_they_show_and_others_go_when_they_are_old(history: History) -> None:
    nights = [history.night(number, days) for number, days in enumerate((300, 200, 100, 1), start=1)]
    first, second, third, last = map(history.of, nights)
    assert [len(one) for one in (first, second, third, last)] == [21] * 4
    assert history.tidy(keep_runs=2) == first | second
    assert history.tidy(keep_runs=2) == set()
    assert history.tidy(keep_runs=1) == third
    assert history.of(nights[3]) == last
    assert history.store.exists(base_key(BASE))


def test_what_is_young_stays_however_few_runs_do(history: History) -> None:
    old = history.of(history.night(1, 13.9))
    history.night(2, 1)
    assert history.tidy(keep_runs=1) == set()
    assert history.tidy(keep_runs=1, keep_days=13) == old


def test_a_base_and_its_data_go_with_the_last_that_needs_them(history: History) -> None:
    history.night(1, 100)
    history.dated(1, lambda: history.base(name(0xB2), name(0xD2)))
    history.dated(1, lambda: history.page(0xF002))
    history.store.put(f"runs/{name(0xF002)}/report.html", f"<td>{name(0xB2)}</td>".encode())
    gone = history.tidy(keep_runs=1)
    assert {key.split("/")[1] for key in gone if key.startswith(("bases/", "datasets/"))} == {BASE, DATA}
    assert {key.split("/")[0] for key in gone} > {"checks"}
    assert [key.split("/")[1][:12] for key in history.store.list("checks/")] == 2 * [name(0xD3)]
    assert {key.split("/")[1] for key in history.store.list("bases/")} == {name(0xB2)}


def test_what_a_candidate_was_pruned_from_stays_with_it(history: History) -> None:
    history.dated(100, lambda: history.candidate(name(1)))
    history.dated(100, lambda: history.candidate(name(2), parent=name(1)))
    history.dated(100, lambda: history.candidate(name(3)))
    history.dated(1, lambda: history.page(0xF001, name(2)))
    assert {key.split("/")[1] for key in history.tidy(keep_runs=1)} == {name(3)}


def test_who_asks_for_a_network_between_look_and_removal_finds_all_that_it_was_made_from(tmp_path: Path) -> None:
    history = family(tmp_path / "store")
    planned = history.fates()
    assert not [fate for fate in planned if fate.stays]
    get_record(history.store, retrained_key(name(3)), RetrainReport)  # names the one before, and not the first
    remove(history.store, planned)
    records = [f"datasets/{DATA}/dataset.json", base_key(BASE), *(candidate_key(name(number)) for number in (1, 2, 3))]
    assert all(map(history.store.exists, records))
    assert history.tidy() == set()


def test_the_table_says_what_went_and_not_what_was_planned(history: History) -> None:
    history.dated(100, lambda: history.candidate(name(1)))
    history.dated(100, lambda: history.candidate(name(2)))
    planned, sizes = history.fates(), history.store.sizes("")
    get_record(history.store, retrained_key(name(2)), RetrainReport)
    found = rows(sizes, remove(history.store, planned))
    went = sizes.keys() - set(history.store.list(""))
    assert {key.split("/")[1] for key in went if key.startswith("candidates/")} == {name(1)}
    assert sum(int(row["objects"]) for row in found if row["fate"] == "goes") == len(went)


def test_a_dry_run_says_exactly_what_a_run_then_does(history: History) -> None:
    for number, days in enumerate((300, 200, 1), start=1):
        history.night(number, days)
    history.dated(50, lambda: history.store.put(f"candidates/{name(3)}/pruned-{name(7)}.safetensors", b"killed"))
    history.dated(50, lambda: history.store.put(state_key(f"candidates/{name(3)}"), b"state"))
    history.dated(50, lambda: history.store.put("quarantine/reports/liar/x", b"junk"))
    planned = {key for fate in history.fates(keep_runs=1) if not fate.stays for key in fate.keys}
    sizes = history.store.sizes("")
    said = rows(sizes, history.fates(keep_runs=1))
    assert set(history.store.list("")) == sizes.keys()  # nothing went by looking, and nothing was written
    assert history.tidy(keep_runs=1) == planned
    assert {key.split("/")[0] for key in planned} >= {"candidates", "exports", "quarantine", "runs", "sheets"}
    assert sum(int(row["objects"]) for row in said if row["fate"] == "goes") == len(planned)


def test_reading_a_record_keeps_its_candidate_and_what_that_needs(history: History) -> None:
    history.dated(100, lambda: history.candidate(name(1)))
    history.dated(100, lambda: history.candidate(name(2)))
    planned = history.fates()
    for key in (retrained_key(name(2)), retrained_key(name(1))):
        before = history.store.get(key)
        get_record(history.store, key, RetrainReport)
        assert history.store.get(key) == before
        assert datetime.now(UTC) - history.store.written(key)[key] < timedelta(minutes=5)
    assert [one for one in planned if not one.stays]
    became = remove(history.store, planned)  # used since the plan was made
    stayed = {fate.unit.kind: fate.why for fate in became if fate.stays}
    assert stayed.keys() == {"candidates", "bases", "datasets"}
    assert set(stayed.values()) == {"somebody has asked for it, or for what needs it, a moment ago"}
    history.date(retrained_key(name(1)), 100)
    history.date(retrained_key(name(2)), 1)
    assert {key.split("/")[1] for key in history.tidy()} == {name(1)}


def test_a_record_that_is_removed_while_it_is_read_counts_as_absent(history: History) -> None:
    history.dated(100, lambda: history.candidate(name(1)))
    store, key = history.store, retrained_key(name(1))

    class Removing(FolderStore):
        def written(self, prefix: str) -> dict[str, datetime]:
            found = super().written(prefix)
            store.delete(key)
            return found

    assert recall(Removing(history.folder), key, RetrainReport) is None
    with pytest.raises(NotStoredError):
        get_record(store, key, RetrainReport)


def test_networks_of_releases_and_reports_on_them_stay(history: History, tmp_path: Path) -> None:
    store = history.store
    made = three_releases(store, tmp_path)
    networks = {release: manifest.network_id for release, manifest in published(publisher_of(store))}
    for release in made[:2]:
        promote(publisher_of(store), "cpu-fp32", release)
    gone, awaited = name(0xDEAD), name(0xA3A17)
    await_reports(store, awaited, datetime.now(UTC) + timedelta(hours=1))
    for release in (*made, gone, awaited):
        history.dated(100, lambda release=release: store.put(f"reports/desk/{release}/cpu-fp32-1.json", b"{}"))
    history.dated(100, lambda: store.put(f"reports/{gone}/desk/cpu-fp32-1.json", b"{}"))
    history.dated(100, lambda: store.put(f"challenges/{name(5)}.json", f'{{"release_id": "{made[0]}"}}'.encode()))
    history.dated(100, lambda: store.put(f"challenges/{name(6)}.json", f'{{"release_id": "{gone}"}}'.encode()))
    for network in {*networks.values()}:
        history.dated(100, lambda network=network: history.candidate(network))
    history.dated(100, lambda: history.candidate(name(9)))
    history.dated(100, lambda: history.page(0xF001))
    went = history.tidy(keep_runs=1)
    assert {key for key in went if not key.startswith(f"candidates/{name(9)}/")} == {
        f"reports/desk/{gone}/cpu-fp32-1.json",
        f"reports/{gone}/desk/cpu-fp32-1.json",
        f"challenges/{name(6)}.json",
    }
    assert {key.split("/")[1] for key in store.list("candidates/")} == set(networks.values())


def test_a_network_of_an_unsigned_release_stays(history: History) -> None:
    history.dated(100, lambda: history.candidate(name(1)))
    history.dated(100, lambda: history.candidate(name(2)))
    manifest = f'{{"candidate_id": "{name(1)}"}}'.encode()  # as 0.1.0 wrote it
    history.dated(100, lambda: history.store.put(f"releases/{name(3)}/manifest.json", manifest))
    assert {key.split("/")[1] for key in history.tidy()} == {name(2)}


def test_nothing_goes_while_a_release_is_damaged_and_retiring_it_helps(history: History, tmp_path: Path) -> None:
    store, made = history.store, three_releases(history.store, tmp_path)
    history.night(1, 100)
    (manifest,) = (key for key in store.list(f"releases/{made[0]}/") if key.endswith("manifest.json"))
    for damage in (lambda: store.put(manifest, b"{}"), lambda: store.delete(manifest)):
        damage()
        before = store.list("")
        with pytest.raises(
            ConflictError, match=f"releases/{made[0]}/manifest.json is damaged, .*: retire that release"
        ):
            history.tidy(keep_runs=1)
        assert store.list("") == before
    retire(publisher_of(store), made[0])
    history.dated(1, lambda: history.page(0xF002))
    assert history.tidy(keep_runs=1)


def test_every_release_that_a_pointer_or_a_pin_names_is_left_alone(history: History, tmp_path: Path) -> None:
    made = three_releases(history.store, tmp_path)
    manifest = dict(published(publisher_of(history.store)))[made[0]]
    before, now, pinned = made
    pointer = Pointer("cpu-int8", now, "0" * 64, replaces=before, share=0.5)
    sign(history.store, pointer_path("cpu-int8"), pointer.to_json())
    sign(history.store, pin_path("cpu-int8", "desk"), Pointer("cpu-int8", pinned, "0" * 64).to_json())
    for key in history.store.list(""):
        history.date(key, 400)
    kept = {key for key in history.store.list("") if key.startswith(("releases/", "targets/", "tuf/"))}
    history.tidy(keep_runs=1, keep_days=2)
    assert kept <= set(history.store.list(""))
    assert manifest.network_id


def test_a_training_that_nobody_went_on_with_goes_and_its_candidate_stays(history: History) -> None:
    history.dated(100, lambda: history.candidate(name(1)))
    state, progress = state_key(f"candidates/{name(1)}"), f"candidates/{name(1)}/progress.json"
    first = f"candidates/{name(1)}/training-state.pt"
    history.dated(20, lambda: [history.store.put(key, b"state") for key in (state, progress, first)])
    history.dated(1, lambda: history.page(0xF001, name(1)))
    assert history.tidy() == {state, progress, first}
    history.dated(2, lambda: history.store.put(state, b"state"))
    assert history.tidy() == set()


def test_files_that_no_record_names_go_by_age(history: History) -> None:
    store = history.store
    history.night(1, 100)
    loser = f"candidates/{name(1)}/retrained-{name(7)}.safetensors"
    killed = [f"exports/{name(8)}/modnet-{name(7)}.onnx", f"bases/{name(8)}/training-state-2.pt"]
    backbones = [f"backbones/backbone-{name(8)}.npz", f"backbones/{name(8)}.npz"]
    history.dated(20, lambda: [store.put(key, b"file") for key in (loser, *killed, *backbones)])
    young = f"candidates/{name(1)}/pruned-{name(7)}.safetensors"
    history.dated(2, lambda: store.put(young, b"file"))
    assert history.tidy() == {loser, *killed, *backbones}


def test_a_damaged_record_keeps_nothing_and_one_of_an_earlier_version_keeps_what_it_names(history: History) -> None:
    for number in (1, 2):
        history.dated(100, lambda number=number: history.candidate(name(number)))
    history.dated(100, lambda: history.store.put(f"scores/{name(5)}.json", b"\xff{cut off"))
    history.dated(100, lambda: history.store.put(f"mattes/{name(6)}.json", f'{{"of": "{name(1)}"}}'.encode()))
    history.dated(1, lambda: history.store.put(f"latencies/{name(7)}.json", f'{{"v0": ["{name(1)}"]}}'.encode()))
    gone = history.tidy()
    assert f"scores/{name(5)}.json" in gone
    assert {key.split("/")[1] for key in gone} == {f"{name(5)}.json", name(2)}


def test_files_of_a_damaged_record_stay_where_their_unit_does(history: History) -> None:
    network = history.night(1, 100)
    files = {key for key in history.of(network) if key.endswith(".safetensors")}
    for cut in (b"", b"{", history.store.get(candidate_key(network))[:-1]):
        history.dated(100, lambda cut=cut: history.store.put(candidate_key(network), cut))
        assert history.tidy() == set()
    assert {key for key in history.of(network) if key.endswith(".safetensors")} == files


def test_a_sheet_of_an_earlier_version_which_names_no_network_goes_by_age(history: History) -> None:
    picture = put_file(history.store, f"sheets/{name(5)}.png", b"picture")
    history.dated(20, lambda: put_record(history.store, f"sheets/{name(5)}.json", picture))
    history.date(picture.key, 20)
    assert isinstance(picture, StoredFile)
    assert history.tidy() >= {picture.key, f"sheets/{name(5)}.json"}


def test_objects_that_tidy_does_not_know_are_never_touched(history: History) -> None:
    strange = [
        "notes.txt",
        "other/000000000001/base.json",
        f"candidates/{name(1)}/notes.txt",
        f"candidates/{name(1)}/deep/candidate.json",
        "candidates/mine/candidate.json",
        f"scores/{name(1)}.json.bak",
        f"releases/{name(1)}/modnet.onnx",
        "tuf/1.root.json.old",
        f"publishing/{name(1)}.json",
    ]
    history.night(1, 400)
    for key in strange:
        history.dated(400, lambda key=key: history.store.put(key, b"mine"))
    history.dated(1, lambda: history.page(0xF002))
    assert history.tidy(keep_runs=1)
    assert set(strange) <= set(history.store.list(""))
    reasons = {"not of what is tidied", *LEFT_ALONE.values()}
    untouched = [row for row in rows(history.store.sizes(""), history.fates()) if row["why"] in reasons]
    assert sum(int(row["objects"]) for row in untouched) == len(strange)


def test_every_kind_that_is_written_beside_runs_has_a_rule(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = history.store
    publisher = publisher_of(store)
    first, second, third = three_releases(store, tmp_path)
    promote(publisher, "cpu-fp32", first)
    promote(publisher, "cpu-fp32", second, share=0.5)
    stop(publisher, "cpu-fp32", second, "slower", "a test")
    promote(publisher, "cpu-int8", first)
    promote(publisher, "cpu-int8", third, share=0.5)
    pin(publisher, "cpu-int8", "desk", second)
    mark_publishing(store, name(4))
    await_reports(store, third, datetime.now(UTC) + timedelta(hours=1))
    record_decision(store, "pinned", "cpu-int8", before=None, after=second, words="asked", by="a test")
    monkeypatch.setenv("MODNET_STORE", store.url)
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    for module in (tasks.collect, tasks.tidy):
        monkeypatch.setattr(module, "create_table_artifact", lambda *_, **__: None)
    for module in (tasks.collect, tasks.publish_history):
        monkeypatch.setattr(module, "create_link_artifact", lambda *_, **__: None)
    fill(store, nights=1)
    store.put(event_key(name(5), 0), b"{}")
    junk = f"liar/{name(4)}/cpu-20261122T063000.000001Z.json"
    store.put(f"reports/{junk}", b"{}")
    with disable_run_logger():
        tasks.collect.collect_new.fn()
        tasks.collect.publish_fleet.fn(0.02, 24.0)
        tasks.publish_history.publish_history.fn()
        tasks.tidy.tidy_store.fn(TidyConfig())
    wait_for_store(store, 60)
    known = {key for unit in units_of(store.written("")).values() for key in unit.written}
    others = {key.split("/")[0] for key in set(store.list("")) - known}
    assert others == LEFT_ALONE.keys()
    assert {f"quarantine/reports/{junk}", f"quarantine/reasons/{junk}"} <= known

    before = set(store.list(""))
    for key in before:
        history.date(key, 400)
    gone = history.tidy(keep_runs=1, keep_days=2)
    assert gone >= {f"quarantine/reports/{junk}", f"quarantine/reasons/{junk}"}
    assert {key for key in before if key.split("/")[0] in LEFT_ALONE} == before - known
    assert before - known <= set(store.list(""))


def test_the_page_of_a_night_states_a_rule_for_every_kind() -> None:
    page = Path("docs/night.md").read_text().partition("## Disks do not fill")[2].partition("\n## ")[0]
    assert not _LAYOUT.keys() & LEFT_ALONE.keys()
    kinds = {*_LAYOUT, *LEFT_ALONE}
    assert {kind for kind in kinds if f"`{kind}/" not in page} == set()


def test_what_is_put_aside_is_not_read(history: History) -> None:
    for key in (f"quarantine/reports/liar/{DATA}", f"quarantine/reasons/liar/{DATA}"):
        history.dated(1, lambda key=key: history.store.put(key, BASE.encode()))

    class Unread(FolderStore):
        def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
            assert not key.startswith("quarantine/")
            return super().get(key, max_bytes=max_bytes)

    found = fates(publisher_of(Unread(history.folder)), NOW, TidyConfig())
    assert {fate.stays for fate in found if fate.unit.kind == "quarantine"} == {True}
    assert {fate.stays for fate in found if fate.unit.kind in ("bases", "datasets")} == {False}


class KilledError(Exception):
    """Stands for a kill."""


def test_a_kill_after_any_deletion_leaves_no_record_without_its_files_and_the_next_goes_on(tmp_path: Path) -> None:
    first = History(tmp_path / "first")
    first.dated(365, first.base)
    first.night(1, 100)
    first.night(2, 1)
    whole = first.copy(tmp_path / "whole")
    expected = len(whole.tidy(keep_runs=1))
    assert expected == 21
    for survives in range(expected):
        history = first.copy(tmp_path / f"after-{survives}")
        with pytest.raises(KilledError):
            remove(after(history, survives, KilledError), history.fates(keep_runs=1))
        store = history.store
        for key, kind in (
            (candidate_key(name(1)), Candidate),
            (retrained_key(name(1)), RetrainReport),
            (f"timed/{name(0xA001)}/forms.json", TimedForms),
            (f"sheets/{name(0xA001)}.json", Sheet),
        ):
            if store.exists(key):
                record = kind.model_validate_json(store.get(key))
                assert all(store.exists(file.key) for file in record.stored_files()), (survives, key)
        history.tidy(keep_runs=1)
        assert set(store.list("")) == set(whole.store.list("")), survives


def after(history: History, deletions: int, happens: Callable[[], object]) -> FolderStore:
    """A store in which something happens after so many deletions, once; an exception that it returns is raised."""

    class Interrupted(FolderStore):
        left = deletions

        def delete(self, key: str) -> None:
            self.left -= 1
            if self.left == -1 and isinstance(found := happens(), Exception):
                raise found
            super().delete(key)

    return Interrupted(history.folder)


def family(folder: Path) -> History:
    """Three candidates of long ago, each pruned from the one before; their names say nothing of that order."""
    history = History(folder)
    history.dated(365, history.base)
    for number, parent in ((2, BASE), (1, name(2)), (3, name(1))):
        history.dated(100, lambda number=number, parent=parent: history.candidate(name(number), parent=parent))
    return history


def test_a_kill_after_any_deletion_leaves_no_network_without_what_it_was_pruned_from(tmp_path: Path) -> None:
    first = family(tmp_path / "first")
    whole = first.copy(tmp_path / "whole")
    expected = len(whole.tidy())
    assert whole.store.list("") == []
    for survives in range(expected):
        history = first.copy(tmp_path / f"after-{survives}")
        with pytest.raises(KilledError):
            remove(after(history, survives, KilledError), history.fates())
        store = history.store
        for folder in store.folders("candidates/"):
            if store.exists(candidate_key(folder)):
                record = Candidate.model_validate_json(store.get(candidate_key(folder)))
                assert store.exists(base_key(BASE))
                assert store.exists(f"datasets/{DATA}/dataset.json")
                assert record.parent_id == BASE or store.exists(candidate_key(record.parent_id)), (survives, folder)


def test_two_that_tidy_at_once_remove_what_one_does(tmp_path: Path) -> None:
    first = family(tmp_path / "first")
    first.night(9, 1)
    whole = first.copy(tmp_path / "whole")
    went = whole.tidy()
    for deletions in range(0, len(went), 3):
        history = first.copy(tmp_path / f"after-{deletions}")
        planned = history.fates()
        second = after(history, deletions, lambda history=history, planned=planned: remove(history.store, planned))
        assert not [fate for fate in remove(second, planned) if fate.stays != (fate.keys[0] not in went)]
        assert set(history.store.list("")) == set(whole.store.list("")), deletions


def test_a_file_that_is_written_again_after_the_look_stays(history: History) -> None:
    key = f"candidates/{name(8)}/pruned-{name(7)}.safetensors"  # left by a run that was killed, and made again by one
    history.dated(100, lambda: history.store.put(key, b"weights"))
    planned = history.fates()
    history.store.put(key, b"weights")
    remove(history.store, planned)
    assert history.store.exists(key)


def test_the_table_says_kind_objects_bytes_and_why(history: History) -> None:
    history.night(1, 100)
    history.night(2, 1)
    found = rows(history.store.sizes(""), history.fates(keep_runs=1))
    by_kind = {(row["kind"], row["fate"]): row for row in found}
    assert by_kind["candidates", "goes"]["objects"] == "8"
    assert by_kind["checks", "stays"]["why"] == "its data set stays"
    assert by_kind["candidates", "goes"]["why"] == "nothing that is kept needs it, and it is older than 14 days"
    assert by_kind["bases", "stays"]["why"] == "a run that stays shows it"
    assert by_kind["datasets", "stays"]["why"] == "something that stays needs it"
    assert sum(int(row["objects"]) for row in found) == len(history.store.list(""))
