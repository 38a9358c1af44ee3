"""How long a run waits for reports: for measured ones, of every awaited target and as many as are wanted."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows.benchmark
from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import publish_release
from modnet.configs import BenchmarkConfig
from tasks import benchmark
from tests.signing import keys, publisher_of
from tests.unit.infra.exported import digests, exported

TARGETS = ("cpu-fp32", "cpu-int8")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    monkeypatch.setattr(benchmark, "LOOK_EVERY_S", 0.02)
    return FolderStore(tmp_path / "store")


@pytest.fixture
def release_id(store: FolderStore, tmp_path: Path) -> str:
    files = {name: tmp_path / name for name in ("model.xml", "model.bin")}
    for path in files.values():
        path.write_bytes(b"x")
    manifest = Manifest(
        workload="matting",
        network_id="c",
        targets={target: TargetFiles("model.xml", "model.bin", "input", (1, 3, 64, 64), "fp32") for target in TARGETS},
        files=digests(files),
        scores={},
        provenance={},
    )
    return publish_release(publisher_of(store), manifest, exported(store, files))


def report(release_id: str, target: str, device: str, *, failed: bool = False) -> LatencyReport:
    outcome = {"status": "failed", "reason": "no such layer"}
    if not failed:
        samples = (1.0, 2.0)
        outcome = {"status": "measured", "input_shape": (1, 3, 64, 64), "load_ms": 1.0, "samples_ms": samples}
        outcome |= {"summary": summarise(samples), "intervals_ms": intervals(samples)}
    return LatencyReport(
        release_id=release_id,
        target=target,
        device=device,
        runtime="openvino",
        started_at="20261128T000000.000000Z",
        conditions={},
        **outcome,
    )


def collect(store: FolderStore, config: BenchmarkConfig, *rounds: list[LatencyReport]) -> list[LatencyReport]:
    """What is collected when devices write the first reports at once and each further round somewhat later."""

    def write(reports: list[LatencyReport]) -> None:
        for one in reports:
            store.put(one.key(), one.to_json())

    def write_the_rest() -> None:
        for reports in rounds[1:]:
            time.sleep(0.3)
            write(reports)

    write(rounds[0])
    devices = threading.Thread(target=write_the_rest)
    devices.start()
    try:
        with disable_run_logger():
            return benchmark.collect_reports.fn(rounds[0][0].release_id, config)
    finally:
        devices.join()


def test_collect_reports_waits_for_as_many_as_are_wanted(store: FolderStore, release_id: str) -> None:
    first = [report(release_id, target, "first") for target in TARGETS]
    second = [report(release_id, target, "second") for target in TARGETS]
    config = BenchmarkConfig(wait_s=60, min_reports=3)
    assert len(collect(store, config, first, second[:1], second[1:])) == 3


def test_collect_reports_looks_where_prefect_tells_nothing(store: FolderStore, release_id: str) -> None:
    """Nobody answers there: the reports are found, and the wait ends."""
    first = [report(release_id, target, "first") for target in TARGETS]
    began = time.monotonic()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert len(collect(store, BenchmarkConfig(wait_s=60, min_reports=2), first[:1], first[1:])) == 2
    assert time.monotonic() - began < 30


def test_collect_reports_waits_on_when_a_device_could_not_measure(store: FolderStore, release_id: str) -> None:
    failed = [report(release_id, "cpu-fp32", "broken", failed=True), report(release_id, "cpu-int8", "first")]
    config = BenchmarkConfig(wait_s=60, min_reports=0)
    assert len(collect(store, config, failed, [report(release_id, "cpu-fp32", "first")])) == 3


def test_collect_reports_gives_what_there_is_when_the_time_is_up(store: FolderStore, release_id: str) -> None:
    failed = [report(release_id, target, "broken", failed=True) for target in TARGETS]
    began = time.monotonic()
    assert len(collect(store, BenchmarkConfig(wait_s=0.2, min_reports=0), failed)) == 2
    assert time.monotonic() - began >= 0.2


def test_benchmark_counts_reports_and_not_devices_when_there_are_too_few(
    store: FolderStore, release_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target in TARGETS:
        one = report(release_id, target, "first")
        store.put(one.key(), one.to_json())
    monkeypatch.setattr("flows.benchmark.collect_reports", benchmark.collect_reports.fn)
    config = BenchmarkConfig(wait_s=0, min_reports=3)
    with disable_run_logger(), pytest.raises(RuntimeError, match="2 measured reports on release .* at least 3"):
        flows.benchmark.benchmark.fn(release_id, config)
