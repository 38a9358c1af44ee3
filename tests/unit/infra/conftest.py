"""A small valid manifest, release and report, S3 settings, a full disk; each test spoils what it is about."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.device.documents.latency_report import LatencyReport
from infra.device.documents.latency_summary import intervals, summarise
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import publish_release
from tests.signing import publisher_of
from tests.unit.infra.exported import digests, exported


@pytest.fixture(scope="session")
def set_aws() -> Callable[[pytest.MonkeyPatch, str], None]:
    """A function that sets boto3's variables: somebody's credentials, and an endpoint."""

    def set_variables(environment: pytest.MonkeyPatch, endpoint: str) -> None:
        environment.setenv("AWS_ACCESS_KEY_ID", "somebody")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        environment.setenv("AWS_CONFIG_FILE", "/dev/null")
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")

    return set_variables


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, set_aws: Callable[[pytest.MonkeyPatch, str], None]) -> pytest.MonkeyPatch:
    """Credentials, and an endpoint at which nobody listens."""
    set_aws(monkeypatch, "http://127.0.0.1:9")
    return monkeypatch


@pytest.fixture
def little_room() -> Iterator[None]:
    """Files of this process may not grow beyond 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def release_files(tmp_path: Path) -> dict[str, Path]:
    """Path in the release -> local file."""
    folder = tmp_path / "exported"
    folder.mkdir()
    for name in ("cpu-fp32.xml", "cpu-fp32.bin", "model.onnx"):
        (folder / name).write_bytes(b"content of " + name.encode())
    return {f"model/{path.name}": path for path in folder.iterdir()}


@pytest.fixture
def manifest(release_files: dict[str, Path]) -> Manifest:
    return Manifest(
        workload="matting",
        network_id="0123456789ab",
        targets={
            "cpu-fp32": TargetFiles("model/cpu-fp32.xml", "model/cpu-fp32.bin", "input", (1, 3, 512, 512), "fp32")
        },
        files=digests(release_files),
        scores={"mse": 0.01, "parameters": 1340000},
        provenance={"seed": 7, "code_version": "0.1.0"},
        created_at="20261122T063000.000000Z",
    )


@pytest.fixture
def published(store: FolderStore, manifest: Manifest, release_files: dict[str, Path]) -> str:
    """Release id of the manifest, published."""
    return publish_release(publisher_of(store), manifest, exported(store, release_files))


@pytest.fixture
def make_report() -> Callable[..., LatencyReport]:
    def make(**changes: Any) -> LatencyReport:
        samples_ms = (4.0, 2.0, 1.0, 3.0)
        measured: dict[str, Any] = {
            "release_id": "0123456789ab",
            "target": "cpu-fp32",
            "device": "kitchen-pi",
            "runtime": "openvino 2026.4.1",
            "status": "measured",
            "started_at": "20261122T063000.000000Z",
            "conditions": {"cpu_model_text": "Example", "logical_cores_count": 4, "temperature_celsius": 41.5},
            "precision": "f32",
            "input_shape": (1, 3, 512, 512),
            "load_ms": 12.5,
            "warm_up_ms": (9.0,),
            "samples_ms": samples_ms,
            "summary": summarise(samples_ms),
            "intervals_ms": intervals(samples_ms),
        }
        return LatencyReport(**{**measured, **changes})

    return make


@pytest.fixture
def make_failed_report(make_report: Callable[..., LatencyReport]) -> Callable[..., LatencyReport]:
    def make(**changes: Any) -> LatencyReport:
        nothing_measured = {"load_ms": None, "warm_up_ms": (), "samples_ms": (), "summary": None, "intervals_ms": {}}
        return make_report(**{"status": "failed", "reason": "cannot read the model", **nothing_measured, **changes})

    return make
