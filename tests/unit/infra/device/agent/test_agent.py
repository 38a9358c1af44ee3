from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from infra.device.agent.agent import Agent, Outcome
from infra.device.agent.seen import SeenReleases
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.manifest import Manifest, TargetFiles, TurnedFiles, release_file_key
from infra.device.documents.pointer import pointer_path
from infra.device.errors import ContractError, DeviceMissingError, DiskFullError, SettingsError, StoreUnavailableError
from infra.device.measuring.request import MeasureSettings
from infra.device.measuring.runtime import LoadedModel, load_ir
from infra.device.releases import read_manifest
from infra.device.reports import read_reports
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote, publish_release
from tests.signing import publisher_of, sign, trust_of
from tests.unit.infra.exported import digests, exported

LOAD = "infra.device.measuring.child.load_ir"
pytestmark = pytest.mark.usefixtures("children_in_process")
SETTINGS = MeasureSettings(warm_up=1, repeats=4, threads=1)


class _UnreachableForWriting(FolderStore):
    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        raise StoreUnavailableError("the cable is out")


def _promote(store: FolderStore, ir_xml: Path, *, seed: int = 0, turned: TurnedFiles | None = None) -> str:
    files = {path.name: path for path in (ir_xml, ir_xml.with_suffix(".bin"))}
    if turned is not None:
        files |= {turned.ir_xml: ir_xml, turned.ir_bin: ir_xml.with_suffix(".bin")}
    shape = (1, 3, 8, 8) if turned is None else (1, 3, *turned.input_shape[:1:-1])
    target = TargetFiles(ir_xml.name, ir_xml.stem + ".bin", "input", shape, "fp32", turned)
    manifest = Manifest(
        workload="matting",
        network_id="0123456789ab",
        targets={ir_xml.stem: target},
        files=digests(files),
        scores={},
        provenance={"seed": seed},
    )
    release = publish_release(publisher_of(store), manifest, exported(store, files))
    promote(publisher_of(store), ir_xml.stem, release)
    return release


def _run(store: FolderStore, work_folder: Path, target: str = "cpu-fp32") -> Outcome:
    """One round of an agent that has just been started."""
    agent = Agent(trust_of(store), device="pi", work_folder=work_folder, settings=SETTINGS)
    (outcome,) = agent.run_once([target])
    return outcome


def _reports(store: FolderStore, release: str) -> list[LatencyReport]:
    reports, refused = read_reports(store, release)
    assert refused == []
    return reports


def test_run_once_reports_the_current_release_once(store: FolderStore, ir_xml: Path, tmp_path: Path) -> None:
    release = _promote(store, ir_xml)
    measured, skipped = [_run(store, tmp_path / "work") for _ in range(2)]
    assert [measured.status, skipped.status] == ["measured", "skipped"]
    (report,) = _reports(store, release)
    assert (report.status, report.target, report.device) == ("measured", "cpu-fp32", "pi")
    assert len(report.warm_up_ms) >= 1
    assert len(report.samples_ms) == 4
    assert measured.detail.endswith(
        "p90 and p99 of 4 samples are the largest of them: take at least 10 for p90, 100 for p99"
    )
    assert report.input_shape == (1, 3, 8, 8)
    assert report.conditions["inference_threads_count"] == 1
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["seen.json", "spool"]


def test_run_once_measures_the_main_ir_of_a_release_of_both_orientations(
    store: FolderStore, ir_xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(path: Path, **settings: Any) -> LoadedModel:
        loaded.append((path.name, sorted(one.name for one in path.parent.iterdir())))
        return load_ir(path, shape=(8, 16), **settings)

    release = _promote(store, ir_xml, turned=TurnedFiles("turned.xml", "turned.bin", (1, 3, 16, 8)))
    monkeypatch.setattr(LOAD, load)
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=SETTINGS)
    assert [one.status for one in agent.run_once(["cpu-fp32"])] == ["measured"]
    assert loaded == [("cpu-fp32.xml", ["cpu-fp32.bin", "cpu-fp32.xml", "turned.bin", "turned.xml"])]
    assert len(_reports(store, release)) == 1
    assert not (tmp_path / "work" / "releases").exists()


def test_run_once_measures_again_when_the_pointer_moves(store: FolderStore, ir_xml: Path, tmp_path: Path) -> None:
    _promote(store, ir_xml)
    _run(store, tmp_path / "work")
    second = _promote(store, ir_xml, seed=1)
    assert _run(store, tmp_path / "work").status == "measured"
    assert len(_reports(store, second)) == 1


def test_run_once_has_nothing_to_do_when_nothing_was_promoted(store: FolderStore, tmp_path: Path) -> None:
    assert _run(store, tmp_path / "work").status == "skipped"


@pytest.mark.parametrize("spoilt", ["weights changed", "weights missing", "manifest changed"])
def test_run_once_reports_a_failure_once_when_the_release_is_damaged(
    store: FolderStore, ir_xml: Path, tmp_path: Path, spoilt: str
) -> None:
    release = _promote(store, ir_xml)
    weights = release_file_key(release, "cpu-fp32.bin")
    if spoilt == "weights changed":
        store.put(weights, b"evil")
    elif spoilt == "weights missing":
        store.delete(weights)
    else:
        manifest = read_manifest(trust_of(store), release)
        changed = replace(manifest, created_at="20200101T000000.000000Z")
        (key,) = [key for key in store.list(f"releases/{release}/") if key.endswith(".manifest.json")]
        store.put(key, changed.to_json())
    assert [_run(store, tmp_path / "work").status for _ in range(2)] == ["rejected", "rejected"]
    (report,) = _reports(store, release)
    assert report.status == "failed"
    assert report.reason


def test_run_once_reports_a_failure_when_the_runtime_refuses_the_model(
    store: FolderStore, ir_xml: Path, tmp_path: Path
) -> None:
    ir_xml.write_bytes(b"<net/>")
    release = _promote(store, ir_xml)
    assert _run(store, tmp_path / "work").status == "rejected"
    (report,) = _reports(store, release)
    assert report.reason is not None
    assert "openvino" in report.reason


def test_run_once_shortens_a_reason_that_no_report_may_hold(
    store: FolderStore, ir_xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = _promote(store, ir_xml)

    def load(ir_xml: Path, *, device: str, threads: int | None = None, **_: Any) -> NoReturn:
        raise ContractError(5000 * "x")

    monkeypatch.setattr(LOAD, load)
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=SETTINGS)
    agent.run_once(["cpu-fp32"])
    assert [report.reason for report in _reports(store, release)] == [2000 * "x"]


def test_run_once_measures_again_for_another_store_of_the_same_release(
    store: FolderStore, ir_xml: Path, tmp_path: Path
) -> None:
    other = FolderStore(tmp_path / "other")
    assert _promote(store, ir_xml) == _promote(other, ir_xml)
    assert [_run(one, tmp_path / "work").status for one in (store, other, store)] == ["measured", "measured", "skipped"]


def test_run_once_says_that_the_disk_is_full_when_a_report_finds_no_room(
    store: FolderStore, ir_xml: Path, tmp_path: Path, little_room: None
) -> None:
    release = _promote(store, ir_xml)
    settings = MeasureSettings(warm_up=1, repeats=10_000, threads=1)
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=settings)
    with pytest.raises(DiskFullError, match="work: no room"):
        agent.run_once(["cpu-fp32"])
    assert _run(store, tmp_path / "work").status == "measured"
    assert [report.status for report in _reports(store, release)] == ["measured"]


def test_run_once_measures_a_rejected_release_when_it_was_repaired(
    store: FolderStore, ir_xml: Path, tmp_path: Path
) -> None:
    release = _promote(store, ir_xml)
    weights = release_file_key(release, "cpu-fp32.bin")
    store.delete(weights)
    assert _run(store, tmp_path / "work").status == "rejected"
    store.upload_file(weights, ir_xml.with_suffix(".bin"))
    assert _run(store, tmp_path / "work").status == "measured"
    assert [report.status for report in _reports(store, release)] == ["failed", "measured"]


def test_run_once_rejects_a_malformed_pointer(store: FolderStore, tmp_path: Path) -> None:
    sign(store, pointer_path("cpu-fp32"), b'{"schema_version": 1')
    assert _run(store, tmp_path / "work").status == "rejected"


def test_run_once_measures_nothing_when_the_pointer_is_not_what_was_signed(
    store: FolderStore, ir_xml: Path, tmp_path: Path
) -> None:
    release = _promote(store, ir_xml)
    (key,) = store.list("targets/")
    store.put(key, store.get(key).replace(release.encode(), b"0123456789ab"))
    outcome = _run(store, tmp_path / "work")
    assert (outcome.status, "Observed hash" in outcome.detail) == ("rejected", True)
    assert store.list("reports/") == []


def test_run_once_reports_a_network_of_another_shape_than_its_manifest_says(
    store: FolderStore, ir_xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path, **settings: Any) -> LoadedModel:
        return load_ir(path, shape=(16, 8), **settings)

    release = _promote(store, ir_xml)
    monkeypatch.setattr(LOAD, load)
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=SETTINGS)
    assert [one.status for one in agent.run_once(["cpu-fp32"])] == ["rejected"]
    (report,) = _reports(store, release)
    assert report.reason == (
        "cpu-fp32.xml: got a network whose input is [1, 3, 16, 8], wanted [1, 3, 8, 8], as the manifest says"
    )


def test_whoever_was_killed_between_a_report_and_the_memory_of_it_does_not_measure_again(
    store: FolderStore, ir_xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = SeenReleases.add

    def kill(seen: SeenReleases, question: str, status: str | None) -> None:
        if status == "measured":
            raise KeyboardInterrupt
        add(seen, question, status)

    release = _promote(store, ir_xml)
    with monkeypatch.context() as patched:
        patched.setattr(SeenReleases, "add", kill)
        with pytest.raises(KeyboardInterrupt):
            _run(store, tmp_path / "work")
    assert _run(store, tmp_path / "work").status == "skipped"
    assert [report.status for report in _reports(store, release)] == ["measured"]


def test_run_once_waits_and_says_why_when_what_is_signed_is_replayed(
    store: FolderStore, ir_xml: Path, tmp_path: Path
) -> None:
    _promote(store, ir_xml)
    before = store.get("tuf/timestamp.json")
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=SETTINGS)
    assert [one.status for one in agent.run_once(["cpu-fp32"])] == ["measured"]
    _promote(store, ir_xml, seed=1)
    assert [one.status for one in agent.run_once(["cpu-fp32"])] == ["measured"]
    store.put("tuf/timestamp.json", before)
    (outcome,) = agent.run_once(["cpu-fp32"])
    assert (outcome.status, "BadVersionNumberError" in outcome.detail) == ("waiting", True)


def test_run_once_sends_the_report_later_without_measuring_again_when_the_store_was_away(
    store: FolderStore, ir_xml: Path, tmp_path: Path
) -> None:
    release = _promote(store, ir_xml)
    with pytest.raises(StoreUnavailableError):
        _run(_UnreachableForWriting(store.folder), tmp_path / "work")
    assert _reports(store, release) == []
    assert _run(store, tmp_path / "work").status == "skipped"
    assert [report.status for report in _reports(store, release)] == ["measured"]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a'])
def test_run_once_measures_again_when_its_memory_is_damaged(
    store: FolderStore, ir_xml: Path, tmp_path: Path, content: bytes
) -> None:
    _promote(store, ir_xml)
    _run(store, tmp_path / "work")
    (tmp_path / "work/seen.json").write_bytes(content)
    assert _run(store, tmp_path / "work").status == "measured"


def test_run_once_waits_and_leaves_no_model_behind_when_the_runtime_is_gone(
    store: FolderStore, ir_xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promote(store, ir_xml)

    def load(ir_xml: Path, *, device: str, threads: int | None = None, **_: Any) -> object:
        raise SettingsError("the plugin is gone")

    monkeypatch.setattr(LOAD, load)
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=SETTINGS)
    assert [(one.status, one.detail) for one in agent.run_once(["cpu-fp32"])] == [("waiting", "the plugin is gone")]
    assert not (tmp_path / "work/releases").exists()


def test_run_once_reports_the_precision_that_was_used(store: FolderStore, ir_xml: Path, tmp_path: Path) -> None:
    release = _promote(store, ir_xml)
    _run(store, tmp_path / "work")
    assert _reports(store, release)[0].precision == load_ir(ir_xml, precision="f32").precision


def test_run_once_waits_for_a_missing_stick_and_measures_the_other_targets(
    store: FolderStore, ir_xml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = _promote(store, ir_xml)
    stick = ir_xml.with_name("ncs2-fp16.xml")
    shutil.copy(ir_xml, stick)
    shutil.copy(ir_xml.with_suffix(".bin"), stick.with_suffix(".bin"))
    _promote(store, stick)
    asked = {}

    def load(ir_xml: Path, *, device: str, threads: int | None = None, **_: Any) -> LoadedModel:
        asked[device] = threads
        if device == "MYRIAD":
            raise DeviceMissingError("plug the stick in")
        return load_ir(ir_xml, device=device, threads=threads)

    monkeypatch.setattr(LOAD, load)
    agent = Agent(trust_of(store), device="pi", work_folder=tmp_path / "work", settings=SETTINGS)
    outcomes = agent.run_once(["ncs2-fp16", "cpu-fp32"])
    assert [outcome.status for outcome in outcomes] == ["waiting", "measured"]
    assert outcomes[0].detail == "plug the stick in"
    assert asked == {"MYRIAD": None, "CPU": 1}
    assert [report.target for report in _reports(store, release)] == ["cpu-fp32"]
