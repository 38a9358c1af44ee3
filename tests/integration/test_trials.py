"""Releases on trial on a real S3 server: real agents measure them beside what runs, and the flow's task decides."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset8
from prefect.logging import disable_run_logger

from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.releases import current_for
from infra.device.reports import read_reports
from infra.device.stores.object_store import ObjectStore, open_store
from infra.publishing.releases import promote, publish_release
from infra.publishing.trials import publish_trials, signed_trials
from modnet.configs import TrialConfig
from modnet.records import Challenge, Decision
from modnet.targets import Target
from tasks import decide
from tasks.stored import get_record, put_record
from tasks.stored_network import evidence_key
from tests.integration.conftest import IngestServer
from tests.signing import keys, publisher_of, root_file, trust_of
from tests.unit.infra.exported import digests, exported

ROOT = Path(__file__).parents[2]
AGENTS = {"device": 1, "other-device": 2}
"""Devices and their threads."""


@pytest.fixture
def store(
    s3_environ: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ObjectStore]:
    """The bucket as the pipeline sees it; each test has a target of its own there."""
    settings = {"MODNET_STORE": "s3://modnet", "MODNET_KEYS": str(keys().folder), "MODNET_CACHE": str(tmp_path / "c")}
    for name, value in {**s3_environ("pipeline"), **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(decide, "create_table_artifact", lambda *_, **__: None)
    with disable_run_logger():
        yield open_store("s3://modnet")


@pytest.fixture
def measure(
    ingest: IngestServer, s3_environ: Callable[[str], dict[str, str]], tmp_path: Path
) -> Callable[[Target], None]:
    """A round of every agent, one after the other, each by its own key; each is a process, and so are its children."""

    def rounds(target: Target) -> None:
        for device, threads in AGENTS.items():
            command = [sys.executable, "-m", "infra.device", "--once", "--target", target, "--device", device]
            command += ["--store", "s3://modnet", "--root", str(root_file()), "--ingest", ingest.url]
            command += ["--work-folder", str(tmp_path / device), "--threads", str(threads)]
            command += ["--warm-up", "5", "--repeats", "40"]
            environ = {**os.environ, **s3_environ(device)}
            ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stderr

    return rounds


def published(store: ObjectStore, target: Target, folder: Path, channels: int) -> str:
    """A release of two convolutions; the one between them is as wide as asked."""
    folder.mkdir()
    image = opset8.parameter([1, 3, 96, 96], np.float32, name="input")
    random = np.random.default_rng(channels)
    answer: openvino.Node = image
    for width, before in ((channels, 3), (channels, channels), (3, channels)):
        weights = opset8.constant(random.normal(size=(width, before, 3, 3)).astype(np.float32))
        answer = opset8.relu(opset8.convolution(answer, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
    openvino.save_model(openvino.Model([answer], [image], "network"), folder / f"{target}.xml", False)
    files = {name: folder / name for name in (f"{target}.xml", f"{target}.bin")}
    form = TargetFiles(f"{target}.xml", f"{target}.bin", "input", (1, 3, 96, 96), "fp32")
    manifest = Manifest("matting", f"{channels:012x}", {target: form}, digests(files), {}, {})
    return publish_release(publisher_of(store), manifest, exported(store, files))


def evidence(store: ObjectStore, target: Target, champion: str, challenger: str) -> None:
    """The host found no difference in errors, and says of the latency what no device does."""
    errors = {"current_error": 0.01, "new_error": 0.01, "difference_low": -0.0001, "difference_high": 0.0001}
    challenge = Challenge(target=target, release_id=champion, latency_ratio=9, low=8, high=10, **errors)
    put_record(store, evidence_key(target, champion, challenger), challenge)


def test_the_faster_of_two_trials_takes_the_target_by_what_two_agents_measured(
    store: ObjectStore, measure: Callable[[Target], None], tmp_path: Path
) -> None:
    target: Target = "cpu-fp16"
    champion, fast, slow = (published(store, target, tmp_path / str(width), width) for width in (48, 8, 128))
    promote(publisher_of(store), target, champion)
    measure(target)
    for challenger in (slow, fast):
        evidence(store, target, champion, challenger)
    publish_trials(publisher_of(store), target, [slow, fast], champion, datetime.now(UTC) + timedelta(hours=1))
    (row,) = decide.decide_trials.fn(TrialConfig(), 1.0)
    assert row["what happens"] == "it waits"
    assert row["why"].endswith(f"UTC for device ({slow}, {fast}), other-device ({slow}, {fast})")

    measure(target)
    for challenger in (slow, fast):
        reports, refused = read_reports(store, challenger)
        assert refused == []
        assert {one.device: one.conditions["inference_threads_count"] for one in reports} == AGENTS
        assert {one.comparison and one.comparison.release_id for one in reports} == {champion}
    assert {current_for(trust_of(store), target, device).release_id for device in AGENTS} == {champion}

    (row,) = decide.decide_trials.fn(TrialConfig(), 1.0)
    assert row["what happens"] == "promoted", row
    assert row["why"].startswith(f"release {fast} takes {target}: 0.")
    assert f" times the latency of {champion} on 2 devices (0." in row["why"]
    assert row["why"].endswith("tune error +0.0 % (-1.0 to +1.0 %)")
    (key,) = store.list(f"decisions/{target}/")
    decision = get_record(store, key, Decision)
    assert (decision.before, decision.after, decision.words) == (champion, fast, row["why"])
    worse, better = decision.contenders
    assert worse.latency_low is not None
    assert worse.latency_low > 1
    assert better.latency_high is not None
    assert better.latency_high < 1
    assert better.latency_by == "devices device, other-device"
    assert signed_trials(publisher_of(store)) == {}
    assert {current_for(trust_of(store), target, device).release_id for device in AGENTS} == {fast}

    measure(target)  # it was measured before: nothing is asked again
    assert len(read_reports(store, fast)[0]) == len(AGENTS)


def test_the_champion_stays_where_both_agents_find_the_trial_slower(
    store: ObjectStore, measure: Callable[[Target], None], tmp_path: Path
) -> None:
    target: Target = "cpu-int8"
    champion, slow = (published(store, target, tmp_path / str(width), width) for width in (8, 96))
    promote(publisher_of(store), target, champion)
    evidence(store, target, champion, slow)
    publish_trials(publisher_of(store), target, [slow], champion, datetime.now(UTC) + timedelta(hours=1))
    measure(target)
    (row,) = decide.decide_trials.fn(TrialConfig(), 1.0)
    assert row["what happens"] == "kept", row
    assert row["why"].startswith(f"release {champion} stays: {slow}: it is slower: ")
    assert f" times the latency of {champion} on 2 devices (" in row["why"]
    assert {current_for(trust_of(store), target, device).release_id for device in AGENTS} == {champion}
