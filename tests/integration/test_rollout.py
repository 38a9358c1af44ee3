"""Rollouts on a real S3 server: devices follow what is signed and report, and the flow's task goes on or stops."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from infra.device.documents.latency_report import Comparison, LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.errors import ConflictError
from infra.device.releases import current_for, fetch_release, read_current
from infra.device.stores.object_store import ObjectStore, open_store
from infra.publishing.pointers import pin
from infra.publishing.releases import promote
from infra.publishing.rollouts import rollout_rows
from infra.publishing.stops import read_stops
from modnet.configs import RolloutConfig
from tasks import releases
from tests.signing import keys, publisher_of, trust_of
from tests.unit.infra.exported import three_releases

TARGET = "cpu-int8"
DEVICES = [f"kitchen-{number}" for number in range(30)]
NO_HOLD = RolloutConfig(hold_hours=0, min_reports=3)


class Fleet:
    """Devices that look, fetch and report, a report for each release; what they say is given."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store, self.folder, self.trust = store, folder, trust_of(store)

    def runs(self) -> dict[str, str]:
        """Device -> release, as each of them sees it."""
        self.trust.refresh()
        return {device: current_for(self.trust, TARGET, device).release_id for device in DEVICES}

    def share(self, release_id: str) -> list[str]:
        """The devices that run a release."""
        return [device for device, runs in self.runs().items() if runs == release_id]

    def report(self, device: str, status: str = "measured", ratio: float = 1.0) -> None:
        """Fetches what the device runs, and stores its report on it."""
        self.trust.refresh()
        current = read_current(self.trust, TARGET)
        pointer = current_for(self.trust, TARGET, device)
        assert fetch_release(self.store, pointer, self.folder / device).exists()
        samples = (1.0, 2.0, 3.0)
        measured: dict[str, Any] = {
            "samples_ms": samples,
            "load_ms": 1.0,
            "input_shape": (1, 3, 480, 320),
            "summary": summarise(samples),
            "intervals_ms": intervals(samples),
            "comparison": Comparison(current.replaces or "0" * 12, 20, ratio, ratio * 0.97, ratio * 1.03),
        }
        report = LatencyReport(
            *(pointer.release_id, TARGET, device, "openvino 2026.4.1", status, "20261130T063000.000000Z", {}),
            reason=None if status == "measured" else "the golden image differs by 0.31",
            **(measured if status == "measured" else {}),
        )
        self.store.put(report.key(), report.to_json())


@pytest.fixture
def fleet(
    s3_environ: Callable[[str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Fleet]:
    url = f"s3://modnet/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    settings = {"MODNET_STORE": url, "MODNET_KEYS": str(keys().folder), "MODNET_CACHE": str(tmp_path / "cache")}
    for name, value in {**s3_environ("pipeline"), **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(releases, "create_table_artifact", lambda *_, **__: None)
    with disable_run_logger():
        yield Fleet(open_store(url), tmp_path / "devices")


@pytest.fixture
def made(fleet: Fleet, tmp_path: Path) -> list[str]:
    """Three releases, the oldest first: all devices run the first, a fifth of them gets the second."""
    found = three_releases(fleet.store, tmp_path)
    promote(publisher_of(fleet.store), TARGET, found[0])
    promote(publisher_of(fleet.store), TARGET, found[1], share=0.2)
    return found


def looked(config: RolloutConfig = NO_HOLD) -> str:
    """What the flow's task says of the one rollout."""
    (row,) = releases.look_after_rollouts.fn(config)
    return f"{row['what happens']}: {row['why']}"


def test_a_release_goes_to_a_share_and_then_to_all_devices(fleet: Fleet, made: list[str]) -> None:
    first, second, third = made
    pin(publisher_of(fleet.store), TARGET, DEVICES[0], third)
    share = fleet.share(second)
    assert 2 <= len(share) <= 12  # of 29 by a hash, at 0.2
    assert set(fleet.runs().values()) == {first, second, third}
    for device in share[:2]:
        fleet.report(device, ratio=0.9)
    assert looked().startswith("it waits: its time is over since")
    assert fleet.share(second) == share
    promote(publisher_of(fleet.store), TARGET, second, share=0.6)  # as a person moves it
    grown = fleet.share(second)
    assert set(share) < set(grown)
    for device in grown:
        if device not in share[:2]:
            fleet.report(device, ratio=1.05)
    assert looked(RolloutConfig(min_reports=3)).startswith("it waits: all devices get it at 20")
    assert looked().startswith(f"all devices get it: {len(grown)} trustworthy reports, wanted 3")
    assert {release for device, release in fleet.runs().items() if device != DEVICES[0]} == {second}
    assert fleet.runs()[DEVICES[0]] == third
    assert releases.look_after_rollouts.fn(NO_HOLD) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"status": "wrong"}, "computes something else: the golden image differs by 0.31"),
        ({"status": "failed"}, "could not run it: the golden image differs by 0.31"),
        ({"ratio": 1.3}, "takes 1.30 times as long as with release {first} (1.26 to 1.34; the limit is 1.1)"),
    ],
    ids=["wrong", "failed", "slower"],
)
def test_one_report_of_the_share_stops_a_rollout_by_itself(
    fleet: Fleet, made: list[str], bad: dict[str, Any], words: str
) -> None:
    first, second, third = made
    share = fleet.share(second)
    for device in share[1:]:
        fleet.report(device)
    fleet.report(next(device for device in DEVICES if device not in share), **{**bad, "ratio": 1.0})  # on the first
    fleet.report(share[0], **bad)
    said = looked(RolloutConfig(hold_hours=24))
    assert said == f"stopped: device {share[0]} (openvino 2026.4.1) {words.format(first=first)}"
    assert set(fleet.runs().values()) == {first}
    (stopped,) = read_stops(trust_of(fleet.store))
    assert (stopped.release_id, stopped.back_to, stopped.by) == (second, first, "the flow rollout")
    assert said == f"stopped: {stopped.reason}"
    (row,) = rollout_rows(trust_of(fleet.store))
    assert row.state == f"all devices run it; {stopped.words}"
    with pytest.raises(ConflictError, match="was stopped at"):
        promote(publisher_of(fleet.store), TARGET, second, share=0.2)
    promote(publisher_of(fleet.store), TARGET, third, share=0.2)
    assert set(fleet.runs().values()) == {first, third}
    assert looked().startswith("it waits: its time is over since")
