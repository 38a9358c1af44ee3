"""A release travels from the pipeline to a device and its report back, each side with its own identity."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import botocore.auth
import numpy as np
import openvino
import pytest
from openvino import opset8

from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.errors import StoreUnavailableError
from infra.device.reports import read_reports
from infra.device.stores.s3_store import S3Store
from infra.publishing.releases import promote, publish_release
from tests.integration.conftest import IngestServer
from tests.signing import publisher_of, root_file
from tests.unit.infra.exported import digests, exported

ROOT = Path(__file__).parents[2]


def _publish(store: S3Store, folder: Path) -> str:
    image = opset8.parameter([1, 3, 8, 8], np.float32, name="input")
    openvino.save_model(openvino.Model([opset8.relu(image)], [image], "relu"), folder / "cpu-fp32.xml")
    files = {name: folder / name for name in ("cpu-fp32.xml", "cpu-fp32.bin")}
    manifest = Manifest(
        workload="matting",
        network_id="0123456789ab",
        targets={"cpu-fp32": TargetFiles("cpu-fp32.xml", "cpu-fp32.bin", "input", (1, 3, 8, 8), "fp32")},
        files=digests(files),
        scores={"mse": 0.01},
        provenance={"run": folder.name},
    )
    release = publish_release(publisher_of(store), manifest, exported(store, files))
    promote(publisher_of(store), "cpu-fp32", release)
    return release


def test_agent_measures_a_promoted_release_once_as_the_device_identity(
    s3_environ: Callable[[str], dict[str, str]],
    s3_store: Callable[[str], S3Store],
    ingest: IngestServer,
    tmp_path: Path,
) -> None:
    pipeline = s3_store("pipeline")
    release = _publish(pipeline, tmp_path)
    agent = [sys.executable, "-m", "infra.device", "--once", "--target", "cpu-fp32", "--device", "device"]
    agent += [
        "--store",
        "s3://modnet",
        "--root",
        str(root_file()),
        "--ingest",
        ingest.url,
        "--work-folder",
        str(tmp_path / "work"),
        "--warm-up",
        "1",
        "--repeats",
        "3",
    ]
    for _ in range(2):
        ended = subprocess.run(
            agent, cwd=ROOT, env={**os.environ, **s3_environ("device")}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr

    (report,), refused = read_reports(pipeline, release)

    assert refused == []
    assert (report.status, report.device, len(report.samples_ms)) == ("measured", "device", 3)


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_clock_that_is_wrong_is_something_to_wait_for(
    s3_store: Callable[[str], S3Store], monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """As in the first minute after the start of a device without a battery for its clock."""
    store, right = s3_store("device"), botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: right() + timedelta(minutes=minutes))
    with pytest.raises(
        StoreUnavailableError, match=r"the clock of this machine is wrong: .* GMT here, .* in the store"
    ):
        store.get("targets/cpu-fp32/current.json")
